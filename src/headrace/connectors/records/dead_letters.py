"""Dead letters of records that could not become rows."""

from headrace.events.dead_letter import DeadLetter
from headrace.foundation.ids import derive_id

_PAYLOAD_BYTES = 64 << 10


def dead_letter(
    *, source: str, position: str, code: str, reason: str, raw: bytes, replayable: bool = False
) -> tuple[str, DeadLetter]:
    """(record id, letter). `source` is `CONNECTOR:FILE` and `position` the line: they make the id, so a replay gives the same."""
    letter = DeadLetter(
        stage="ingest", code=code, reason=reason, origin_id=f"{source}@{position}", payload=shown_payload(raw),
        replayable=replayable,
    )  # fmt: skip
    return derive_id(source, position, "ingest"), letter


def shown_payload(raw: bytes) -> str:
    """The text as it came, cut after 64 KiB; bytes that are not UTF-8 are escaped."""
    return raw[:_PAYLOAD_BYTES].decode(errors="backslashreplace")
