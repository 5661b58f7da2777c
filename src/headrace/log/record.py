"""The records in a topic."""

import msgspec


class StreamTime(msgspec.Struct, frozen=True, gc=False):
    """How far a stream had progressed at a given record, in ms of its event time since 1970 UTC.

    An engine's checkpoints do not contain its watermark: after a restart it would accept a late row as timely. So the record carries it.
    """

    latest: int
    """The largest event time up to and including this record."""
    ended: int | None = None
    """The largest event time at the last `end` sign before it: everything open then is closed. None: there was none."""


class NewRecord(msgspec.Struct, frozen=True, gc=False):
    """A record before the log assigns it an offset."""

    id: str
    """Derived from the record's source; the same on every replay."""
    kind: str
    """Payload type and version, such as `row/1`; `control/1` records carry the stream's control signs."""
    value: bytes
    """The payload, encoded by `events/`."""
    event_time: int
    """When it happened, milliseconds since 1970 UTC."""
    key: str = ""
    """Ordering key: records with the same key keep their order. Empty: none."""
    origin: str = ""
    """What it was derived from, as compact JSON; see `events/origin.py`."""
    ingested_at: int = 0
    """When its earliest ancestor entered a log, ms since 1970 UTC; 0: the log sets it on this append."""
    stream: "StreamTime | None" = None
    """The stream's progress, if the writer knows it. Only logs that outside engines read store it, and only they use it."""


class Record(msgspec.Struct, frozen=True, gc=False):
    """A record at its position in a topic."""

    offset: int
    id: str
    kind: str
    value: bytes
    event_time: int
    key: str
    origin: str
    ingested_at: int
