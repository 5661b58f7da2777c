"""`addressed/1`: a record for one reader of a topic; every other reader skips it."""

import msgspec


class Addressed(msgspec.Struct, frozen=True):
    """For example a dead letter's record sent again: the topic's other readers have already had it."""

    to: str
    """The stage it is for: `sink/default.out`."""
    kind: str
    """Kind of the record inside."""
    key: str
    value: bytes
