"""`addressed/1`: a record that one reader of a topic takes, and every other one passes."""

import msgspec


class Addressed(msgspec.Struct, frozen=True):
    """Such as a dead letter's record that is sent again: who else reads the topic has had it."""

    to: str
    """The stage that takes it: `sink/default.out`."""
    kind: str
    """Of the record inside."""
    key: str
    value: bytes
