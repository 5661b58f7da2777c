"""Converts a message's bytes to a line of JSON, which the JSON lines parser types, and its schema to columns."""

from typing import Any, Protocol

import msgspec

from headrace.connectors.kafka import avro, protobuf
from headrace.connectors.kafka.registry import SchemaRegistry, UnknownSchemaError
from headrace.connectors.kafka.wire import UnreadableMessageError, split, split_indexes
from headrace.events.schema import RowSchema

_NO_JSON = b"\0"
"""Never the first byte of JSON, but of a message with a schema id."""
_ENCODER = msgspec.json.Encoder()


class Format(Protocol):
    """Reads values."""

    def line(self, raw: bytes) -> bytes:
        """One line of JSON, not blank. UnreadableMessageError; UnavailableError: the registry is unavailable, retry."""
        ...

    def columns(self, raw: bytes) -> RowSchema | None:
        """The columns of the message's own schema. None: it has none, infer them from the values."""
        ...


def reading(form: str, registry: SchemaRegistry | None) -> Format:
    """For json, debezium, avro and protobuf; the last two need a registry."""
    if form in ("json", "debezium"):
        return JsonFormat()
    assert registry is not None, "the source has checked that there is one"
    return AvroFormat(registry) if form == "avro" else ProtobufFormat(registry)


class JsonFormat:
    """Values that are already JSON, with or without a leading schema id; whitespace across lines is collapsed to one line."""

    def line(self, raw: bytes) -> bytes:
        if raw.startswith(_NO_JSON):
            _, raw = split(raw)
        if not raw.strip():
            raise UnreadableMessageError("it is empty")
        if b"\n" not in raw and b"\r" not in raw:
            return raw
        try:
            msgspec.json.decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise UnreadableMessageError(f"it is not JSON ({error})") from error
        return raw.replace(b"\n", b" ").replace(
            b"\r", b" "
        )  # only outside strings: JSON strings contain no raw newlines

    def columns(self, raw: bytes) -> RowSchema | None:  # noqa: ARG002 - JSON declares no types
        return None


class AvroFormat:
    """Confluent's wire format around Avro."""

    def __init__(self, registry: SchemaRegistry) -> None:
        self._registry = registry
        self._parsed: dict[int, Any] = {}

    def line(self, raw: bytes) -> bytes:
        schema_id, body = split(raw)
        return _ENCODER.encode(avro.decode(body, self._schema(schema_id), schema_id))

    def columns(self, raw: bytes) -> RowSchema | None:
        return avro.columns(self._schema(split(raw)[0]))

    def _schema(self, schema_id: int) -> Any:
        if schema_id not in self._parsed:
            try:
                self._parsed[schema_id] = avro.parsed(self._registry.by_id(schema_id, "AVRO"))
            except UnknownSchemaError as error:
                raise UnreadableMessageError(str(error)) from error
        return self._parsed[schema_id]


class ProtobufFormat:
    """Confluent's wire format around Protobuf."""

    def __init__(self, registry: SchemaRegistry) -> None:
        self._registry = registry
        self._messages: dict[int, list[protobuf.MessageType]] = {}

    def line(self, raw: bytes) -> bytes:
        kind, body, schema_id = self._message(raw)
        return _ENCODER.encode(protobuf.decode(body, kind, schema_id))

    def columns(self, raw: bytes) -> RowSchema | None:
        return protobuf.columns(self._message(raw)[0])

    def _message(self, raw: bytes) -> tuple[protobuf.MessageType, bytes, int]:
        schema_id, rest = split(raw)
        if schema_id not in self._messages:
            try:
                self._messages[schema_id] = protobuf.compiled(self._registry.by_id(schema_id, "PROTOBUF"))
            except UnknownSchemaError as error:
                raise UnreadableMessageError(str(error)) from error
        indexes, body = split_indexes(rest)
        return protobuf.chosen(self._messages[schema_id], indexes, schema_id), body, schema_id
