"""Names each payload's kind and version, encodes it, and upgrades old versions when decoding."""

from typing import TypeVar, cast

import msgspec

from headrace.events.addressed import Addressed
from headrace.events.answer import Answer, Feedback
from headrace.events.control import Control
from headrace.events.dead_letter import DeadLetter
from headrace.events.decision import Command, Decision
from headrace.events.example import Example
from headrace.events.prompt import Prompt
from headrace.events.score import Score
from headrace.foundation.errors import CorruptDataError
from headrace.log.record import NewRecord, Record
from headrace.log.redaction import REDACTED_KIND

ROW = "row/1"
REDACTED = REDACTED_KIND
"""A record without content that only keeps its position: every reader skips it."""
KINDS: dict[type[msgspec.Struct], str] = {
    Prompt: "prompt/1",
    Example: "example/1",
    Score: "score/1",
    Decision: "decision/1",
    Command: "command/1",
    Answer: "answer/1",
    Feedback: "feedback/1",
    DeadLetter: "dead/1",
    Control: "control/1",
    Addressed: "addressed/1",
}
CONTROL = KINDS[Control]
ADDRESSED = KINDS[Addressed]
_ENCODER = msgspec.json.Encoder()
_DECODERS: dict[type[msgspec.Struct], msgspec.json.Decoder[msgspec.Struct]] = {
    payload: msgspec.json.Decoder(payload) for payload in KINDS
}

Payload = TypeVar("Payload", bound=msgspec.Struct)


def is_data(record: Record | NewRecord) -> bool:
    """Whether it carries a payload: neither a control sign nor a record to skip."""
    return record.kind != CONTROL and not is_passed(record)


def is_passed(record: Record | NewRecord) -> bool:
    """Whether its reader should skip it: it was redacted, or is for another reader."""
    return record.kind in (REDACTED, ADDRESSED)


def kind_of(payload: msgspec.Struct) -> str:
    """The kind of a payload's record."""
    return KINDS[type(payload)]


def encode(payload: msgspec.Struct) -> bytes:
    """JSON; equal payloads give equal bytes."""
    return _ENCODER.encode(payload)


def decode(record: Record, expected: type[Payload]) -> Payload:
    """A record's payload. CorruptDataError if it is of another kind or does not parse."""
    if record.kind != KINDS[expected]:
        raise CorruptDataError(f"offset {record.offset} holds {record.kind}, not {KINDS[expected]}")
    try:
        return cast("Payload", _DECODERS[expected].decode(record.value))
    except msgspec.MsgspecError as error:
        raise CorruptDataError(f"offset {record.offset} holds a {record.kind} that does not parse: {error}") from error
