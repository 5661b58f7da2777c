"""What lies in a topic."""

import msgspec


class StreamTime(msgspec.Struct, frozen=True, gc=False):
    """How far a stream had come at a record of it, in ms of its event time since 1970 UTC.

    An engine's watermark is not in its checkpoints: started again, it would take a late row for a timely one. This is in the record.
    """

    latest: int
    """The largest event time up to the record, itself included."""
    ended: int | None = None
    """The same at the last `end` sign before it: what was open then is closed. None: there was none."""


class NewRecord(msgspec.Struct, frozen=True, gc=False):
    """A record before the log has given it an offset."""

    id: str
    """Derived from where it came from; equal on every replay."""
    kind: str
    """Payload type and version, such as `row/1`; `control/1` records carry the stream's own signs."""
    value: bytes
    """The payload, encoded by `events/`."""
    event_time: int
    """When it happened, milliseconds since 1970 UTC."""
    key: str = ""
    """What orders it: records of one key keep their order. Empty: none."""
    origin: str = ""
    """What it was made from, as compact JSON; see `events/origin.py`."""
    ingested_at: int = 0
    """When its first ancestor entered a log, ms since 1970 UTC; 0: stamped by the log at this append."""
    stream: "StreamTime | None" = None
    """How far its stream had come, where its writer knows. Kept by logs that outside engines read; nobody else asks for it."""


class Record(msgspec.Struct, frozen=True, gc=False):
    """A record at its place in a topic."""

    offset: int
    id: str
    kind: str
    value: bytes
    event_time: int
    key: str
    origin: str
    ingested_at: int
