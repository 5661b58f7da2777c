"""Records for a single reader in a topic with several readers."""

from collections.abc import Sequence

import msgspec

from headrace.events import codec
from headrace.events.addressed import Addressed
from headrace.log.record import NewRecord, Record


def addressed(record: NewRecord, to: str) -> NewRecord:
    """For the stage `to` only. It has no key, so that compaction does not mistake it for a newer version of the record inside."""
    payload = Addressed(to, record.kind, record.key, record.value)
    return msgspec.structs.replace(record, kind=codec.kind_of(payload), key="", value=codec.encode(payload))


def opened(records: Sequence[Record], reader: str) -> list[Record]:
    """The records as `reader` sees them: those addressed to it are unwrapped; those addressed to others stay wrapped, to be skipped."""
    return [_opened(record, reader) if record.kind == codec.ADDRESSED else record for record in records]


def _opened(record: Record, reader: str) -> Record:
    inside = codec.decode(record, Addressed)
    if inside.to != reader:
        return record
    return msgspec.structs.replace(record, kind=inside.kind, key=inside.key, value=inside.value)
