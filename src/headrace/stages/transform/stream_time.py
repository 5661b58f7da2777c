"""How far a stream has come, written into its records for engines that read the topic by themselves."""

from collections.abc import Sequence

import msgspec

from headrace.events import codec
from headrace.log.record import NewRecord, StreamTime


def latest_of(records: Sequence[NewRecord], before: int | None) -> int | None:
    """The largest event time of the records and of what came before them; None: there is nothing."""
    moments = [record.event_time for record in records]
    return max(moments if before is None else [before, *moments], default=None)


def stamped(records: Sequence[NewRecord], latest: int | None = None, ended: int | None = None) -> list[NewRecord]:
    """The records with the time of their stream. `latest` and `ended`: what it was before them. Signs carry none, and an `end` is one."""
    found: list[NewRecord] = []
    for record in records:
        if record.kind == codec.CONTROL:
            ended = latest if record.key == "end" else ended
            found.append(record)
            continue
        latest = record.event_time if latest is None else max(latest, record.event_time)
        found.append(msgspec.structs.replace(record, stream=StreamTime(latest, ended)))
    return found
