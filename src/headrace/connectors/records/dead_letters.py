"""Dead letters of records that could not become rows."""

import msgspec
import pyarrow as pa

from headrace.events.dead_letter import DeadLetter
from headrace.foundation.ids import derive_id

UNREADABLE = "unreadable"
"""The code for a record that fails in a way no other code covers."""
_PAYLOAD_BYTES = 64 << 10


def dead_letter(
    *, source: str, position: str, code: str, reason: str, raw: bytes, replayable: bool = False
) -> tuple[str, DeadLetter]:
    """(record id, letter). `source` is `CONNECTOR:FILE` and `position` the line: they form the id, so a replay gives the same one."""
    letter = DeadLetter(
        stage="ingest", code=code, reason=reason, origin_id=f"{source}@{position}", payload=shown_payload(raw),
        replayable=replayable,
    )  # fmt: skip
    return derive_id(source, position, "ingest"), letter


def shown_payload(raw: bytes) -> str:
    """The original text, truncated to 64 KiB; bytes that are not UTF-8 are escaped."""
    return raw[:_PAYLOAD_BYTES].decode(errors="backslashreplace")


def shown_row(table: pa.Table, index: int) -> bytes:
    """A row of typed columns as a JSON object of texts, without NULLs."""
    cells = {
        name: _shown(column.slice(index, 1))
        for name, column in zip(table.column_names, table.columns, strict=True)
        if column[index].is_valid
    }
    return msgspec.json.encode(cells)


def _shown(cell: pa.ChunkedArray) -> str:
    """Python cannot represent the year 10000; Arrow can format it as text."""
    try:
        return str(cell[0].as_py())
    except (ValueError, OverflowError):
        return str(cell.cast(pa.string())[0].as_py())
