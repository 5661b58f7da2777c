"""The protocol between gateway and replica: msgpack, each message prefixed with its length."""

import struct

import msgspec

from headrace.foundation.errors import CorruptDataError
from headrace.serving.generation import GenerationRequest, GenerationStep

_LENGTH = struct.Struct("!I")
HEADER_BYTES = _LENGTH.size
MAX_MESSAGE_BYTES = 64 * 2**20


class Prepare(msgspec.Struct, frozen=True, tag="prepare"):
    """Load this version now; answered by Prepared."""

    path: str


class Generate(msgspec.Struct, frozen=True, tag="generate"):
    """Answer this with that version; answered by Progress until a step has a finish reason."""

    path: str
    request: GenerationRequest


class Cancel(msgspec.Struct, frozen=True, tag="cancel"):
    """Stop this answer; answered by a last step, `cancelled`, unless it has already ended."""

    request_id: str


class Started(msgspec.Struct, frozen=True, tag="started"):
    """A replica's first message."""

    pid: int


class Prepared(msgspec.Struct, frozen=True, tag="prepared"):
    """A version is loaded, or cannot be (`error` says why)."""

    path: str
    engine: str = ""
    error: str = ""


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """New pieces of answers; `running` counts the requests still in progress."""

    steps: list[GenerationStep]
    running: int


ToReplica = Prepare | Generate | Cancel
FromReplica = Started | Prepared | Progress

_ENCODER = msgspec.msgpack.Encoder()
_TO_REPLICA = msgspec.msgpack.Decoder(ToReplica)
_FROM_REPLICA = msgspec.msgpack.Decoder(FromReplica)


def frame(message: ToReplica | FromReplica) -> bytes:
    """A message prefixed with its length, four bytes, big-endian."""
    body = _ENCODER.encode(message)
    return _LENGTH.pack(len(body)) + body


def body_length(header: bytes) -> int:
    """CorruptDataError if the other side does not follow this protocol."""
    length = int(_LENGTH.unpack(header)[0])
    if length > MAX_MESSAGE_BYTES:
        raise CorruptDataError(f"a message of {length} bytes is longer than {MAX_MESSAGE_BYTES}")
    return length


def read_to_replica(body: bytes) -> ToReplica:
    return _TO_REPLICA.decode(body)


def read_from_replica(body: bytes) -> FromReplica:
    return _FROM_REPLICA.decode(body)
