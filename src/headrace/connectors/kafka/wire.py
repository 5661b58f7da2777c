"""How a message names its schema: a zero byte, the schema id, and for Protobuf which message it is."""

import struct

_HEAD = struct.Struct(">bI")
_MAGIC = 0
_MOST_INDEXES = 64
_VARINT_BITS = 63


class UnreadableMessageError(ValueError):
    """These bytes do not match the format."""


def split(raw: bytes) -> tuple[int, bytes]:
    """(the schema id, the rest)."""
    if len(raw) < _HEAD.size or raw[0] != _MAGIC:
        raise UnreadableMessageError("it does not begin with a zero byte and a schema id")
    return _HEAD.unpack_from(raw)[1], raw[_HEAD.size :]


def head(schema_id: int) -> bytes:
    """The 5 bytes before a body."""
    return _HEAD.pack(_MAGIC, schema_id)


def split_indexes(body: bytes) -> tuple[list[int], bytes]:
    """(which message of the schema it is, outermost first; the rest). A lone 0 is the first message."""
    count, place = _zigzag(body, 0)
    if count == 0:
        return [0], body[place:]
    if not 0 < count <= _MOST_INDEXES:
        raise UnreadableMessageError(f"it has {count} message indexes")
    found: list[int] = []
    for _ in range(count):
        index, place = _zigzag(body, place)
        if index < 0:
            raise UnreadableMessageError(f"it has the message index {index}")
        found.append(index)
    return found, body[place:]


def _zigzag(body: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if place >= len(body) or shift > _VARINT_BITS:
            raise UnreadableMessageError("its message indexes do not end")
        byte = body[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), place
        shift += 7
