"""A message's bytes as one line of JSON, which the parser of JSON lines types; and a row as a message's bytes."""

import io
import struct
from base64 import b64encode
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

import fastavro
import msgspec
from google.protobuf import json_format

from headrace.connectors.kafka.registry import MAGIC, SchemaRegistry, UnknownSchemaError

_HEAD = struct.Struct(">bI")
_ENCODER = msgspec.json.Encoder()


class UnreadableMessageError(ValueError):
    """These bytes are not what the format says."""


Decode = Callable[[bytes], bytes]
"""A value's bytes → a JSON object on one line. UnreadableMessageError; UnavailableError: the registry is away."""


def decoder(form: str, registry: SchemaRegistry | None) -> Decode:
    """For json, debezium, avro and protobuf; the last two need a registry."""
    if form in ("json", "debezium"):
        return _one_line
    assert registry is not None
    return (lambda raw: _avro(raw, registry)) if form == "avro" else (lambda raw: _protobuf(raw, registry))


def _one_line(raw: bytes) -> bytes:
    if b"\n" not in raw and b"\r" not in raw:
        return raw
    try:
        return _ENCODER.encode(msgspec.json.decode(raw))
    except msgspec.MsgspecError as error:
        raise UnreadableMessageError(f"not JSON: {error}") from None


def _split(raw: bytes) -> tuple[int, bytes]:
    if len(raw) < _HEAD.size or raw[0] != MAGIC:
        raise UnreadableMessageError("does not begin with the magic byte and a schema's id")
    return _HEAD.unpack_from(raw)[1], raw[_HEAD.size :]


def _avro(raw: bytes, registry: SchemaRegistry) -> bytes:
    schema_id, body = _split(raw)
    try:
        value: Any = fastavro.schemaless_reader(io.BytesIO(body), registry.avro(schema_id), None)
    except UnknownSchemaError as error:
        raise UnreadableMessageError(str(error)) from None
    except (EOFError, ValueError, IndexError, KeyError, TypeError, struct.error) as error:
        raise UnreadableMessageError(f"not what the Avro schema {schema_id} says: {error}") from None
    return _ENCODER.encode(_plain(value))


def _protobuf(raw: bytes, registry: SchemaRegistry) -> bytes:
    schema_id, body = _split(raw)
    try:
        kinds = registry.messages(schema_id)
        indexes, rest = _indexes(body)
        kind = kinds[indexes[0]]
        for index in indexes[1:]:
            nested = kind.DESCRIPTOR.nested_types[index]
            kind = nested._concrete_class  # noqa: SLF001 - the library's only way from a descriptor to its class
        message = kind.FromString(rest)
    except UnknownSchemaError as error:
        raise UnreadableMessageError(str(error)) from None
    except Exception as error:  # noqa: BLE001 - the decoder raises an error of its own C module
        raise UnreadableMessageError(f"not what the Protobuf schema {schema_id} says: {error}") from None
    value = json_format.MessageToDict(message, preserving_proto_field_name=True)
    return _ENCODER.encode(value)


def _indexes(body: bytes) -> tuple[list[int], bytes]:
    """Which message of the schema it is: a count and indexes as zigzag varints; a lone 0 is the first."""
    count, place = _varint(body, 0)
    if count == 0:
        return [0], body[place:]
    found: list[int] = []
    for _ in range(count):
        index, place = _varint(body, place)
        found.append(index)
    return found, body[place:]


def _varint(body: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if place >= len(body):
            raise UnreadableMessageError("ends within its message indexes")
        byte = body[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), place
        shift += 7


def _plain(value: Any) -> Any:
    """What JSON can say, as the parser of JSON lines reads it."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, bytes):
        return b64encode(value).decode()
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return value


def avro_schema(name: str, columns: dict[str, Any]) -> dict[str, Any]:
    """A record of nullable fields, of the types that a row's JSON values have."""
    fields = [{"name": key, "type": ["null", _avro_type(value)], "default": None} for key, value in columns.items()]
    return {
        "type": "record",
        "name": "".join(part.capitalize() for part in name.replace("-", ".").split(".")),
        "fields": fields,
    }


def _avro_type(value: Any) -> Any:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "long"
    return "double" if isinstance(value, float) else "string"


def encode_avro(schema: Any, schema_id: int, value: dict[str, Any]) -> bytes:
    """Confluent's wire format. ValueError where the value does not fit."""
    out = io.BytesIO()
    out.write(_HEAD.pack(MAGIC, schema_id))
    fastavro.schemaless_writer(out, schema, value)
    return out.getvalue()
