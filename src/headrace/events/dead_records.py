"""Dead letters as records of their topics."""

from headrace.events import codec
from headrace.events.dead_letter import DeadLetter
from headrace.log.record import NewRecord

DEAD_RETENTION_MS = 30 * 86_400_000
"""Retention of dead-letter topics."""


def dead_record(record_id: str, letter: DeadLetter, event_time: int) -> NewRecord:
    """The letter's record, keyed by the id of what failed. `event_time`: ms since 1970 UTC."""
    return NewRecord(
        record_id,
        codec.kind_of(letter),
        codec.encode(letter),
        event_time,
        key=letter.origin_id,
        origin=letter.origin_id,
    )
