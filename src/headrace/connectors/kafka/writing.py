"""Rows as message bytes: JSON, or Avro and Protobuf with a schema that grows with the columns.

The subject is TOPIC-value, as in the registry's own serialisers. Its newest schema is used if there is one; a column that it
lacks becomes a nullable field at its end, which readers of both versions can handle. The registry's compatibility rules decide
whether it accepts the extended schema.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Protocol, cast

import msgspec
from google.protobuf.descriptor import FieldDescriptor

from headrace.connectors.kafka import avro, protobuf
from headrace.connectors.kafka.registry import Kind, Schema, SchemaRegistry
from headrace.connectors.kafka.wire import head
from headrace.foundation.errors import FinalError, InvalidDeclarationError

_FIRST_MESSAGE = b"\0"
_PROTO_TYPES = {
    FieldDescriptor.TYPE_BOOL: "bool", FieldDescriptor.TYPE_INT64: "int64", FieldDescriptor.TYPE_DOUBLE: "double",
    FieldDescriptor.TYPE_STRING: "string",
}  # fmt: skip
_AVRO_OF = {"bool": "boolean", "int64": "long", "double": "double", "string": "string"}
Row = Mapping[str, Any]


class Writing(Protocol):
    """Writes values."""

    def encode(self, line: bytes) -> bytes:
        """A row's JSON as a value. FinalError: it does not fit. UnavailableError: the registry is unavailable."""
        ...


def writing(form: str, registry: SchemaRegistry | None, topic: str, where: str) -> Writing:
    """For json, avro and protobuf; the last two need a registry."""
    if form == "json":
        return JsonWriting()
    assert registry is not None, "the sink has checked that there is one"
    return (AvroWriting if form == "avro" else ProtobufWriting)(registry, topic, where)


class JsonWriting:
    """The line unchanged."""

    def encode(self, line: bytes) -> bytes:
        return line


class _SchemaWriting:
    """What Avro and Protobuf share."""

    kind: Kind

    def __init__(self, registry: SchemaRegistry, topic: str, where: str) -> None:
        self._registry, self._subject, self._where = registry, f"{topic}-value", where
        self._name = _type_name(topic)
        self._schema_id: int | None = None

    def encode(self, line: bytes) -> bytes:
        value = msgspec.json.decode(line)
        if not isinstance(value, dict):
            raise FinalError("the record is not a JSON object", where=self._where)
        row = {name: one for name, one in cast("dict[str, Any]", value).items() if one is not None}
        if self._schema_id is None and (found := self._registry.latest(self._subject)) is not None:
            self._take(found)
        lacking = {name: _kind(one) for name, one in row.items() if not self._has(name)}
        if lacking or self._schema_id is None:
            longer = self._longer(lacking)
            schema_id = self._registry.register(self._subject, self.kind, longer)
            self._adopt(Schema(schema_id, self.kind, longer))
        try:
            return self._body(row)
        except ValueError as error:
            raise FinalError(
                f"the record does not fit the schema {self._schema_id} of {self._subject}: {error}", where=self._where
            ) from error

    def _take(self, schema: Schema) -> None:
        if schema.kind != self.kind:
            raise InvalidDeclarationError(
                f"{self._subject} is registered as {schema.kind}, not {self.kind}", where=f"{self._where}: spec.kafka.format",
                next_step="use another format or another topic",
            )  # fmt: skip
        self._adopt(schema)

    def _adopt(self, schema: Schema) -> None: ...

    def _has(self, name: str) -> bool: ...

    def _longer(self, columns: Mapping[str, str]) -> str: ...

    def _body(self, row: Row) -> bytes: ...


class AvroWriting(_SchemaWriting):
    """Confluent's wire format around Avro."""

    kind: Kind = "AVRO"
    _json: Any = None
    _parsed: Any = None
    _names: frozenset[str] = frozenset()

    def _adopt(self, schema: Schema) -> None:
        found = json.loads(schema.text)
        if not isinstance(found, dict) or found.get("type") != "record":
            raise InvalidDeclarationError(f"the schema of {self._subject} is not a record", where=self._where)
        self._json, self._parsed, self._schema_id = found, avro.parsed(schema), schema.id
        self._names = frozenset(one["name"] for one in found["fields"])

    def _has(self, name: str) -> bool:
        return name in self._names

    def _longer(self, columns: Mapping[str, str]) -> str:
        fields = [{"name": name, "type": ["null", _avro(kind)], "default": None} for name, kind in columns.items()]
        known = self._json or {"type": "record", "name": self._name, "fields": []}
        return json.dumps({**known, "fields": [*known["fields"], *fields]})

    def _body(self, row: Row) -> bytes:
        assert self._schema_id is not None
        return head(self._schema_id) + avro.encode(row, self._parsed)


class ProtobufWriting(_SchemaWriting):
    """Confluent's wire format around Protobuf; the schema's first message is written."""

    kind: Kind = "PROTOBUF"
    _message: protobuf.MessageType | None = None

    def _adopt(self, schema: Schema) -> None:
        self._message, self._schema_id = protobuf.compiled(schema)[0], schema.id

    def _has(self, name: str) -> bool:
        return self._message is not None and name in self._message.DESCRIPTOR.fields_by_name

    def _longer(self, columns: Mapping[str, str]) -> str:
        known = list(self._known_fields())
        number = max((one[2] for one in known), default=0)
        fields = [*known, *((kind, name, number + place) for place, (name, kind) in enumerate(columns.items(), 1))]
        name = self._name if self._message is None else self._message.DESCRIPTOR.name
        rows = "".join(f"  {kind if ' ' in kind else f'optional {kind}'} {name} = {at};\n" for kind, name, at in fields)
        return f'syntax = "proto3";\n\nmessage {name} {{\n{rows}}}\n'

    def _known_fields(self) -> Iterable[tuple[str, str, int]]:
        """(type, name, number) for a schema that this class wrote; others are left unchanged."""
        if self._message is None:
            return
        described: Any = self._message.DESCRIPTOR
        plain = len(described.file.message_types_by_name) == 1 and not described.file.package
        for one in described.fields:
            if not plain or one.type not in _PROTO_TYPES or not (one.is_repeated or one.has_presence):
                raise FinalError(
                    f"the Protobuf schema {self._schema_id} of {self._subject} lacks a column of the record", where=self._where,
                    next_step="register a schema version that has it",
                )  # fmt: skip
            kind = _PROTO_TYPES[one.type]
            yield (f"repeated {kind}" if one.is_repeated else kind), one.name, one.number

    def _body(self, row: Row) -> bytes:
        assert self._message is not None
        assert self._schema_id is not None
        return head(self._schema_id) + _FIRST_MESSAGE + protobuf.encode(row, self._message)


def _kind(value: Any) -> str:
    """bool, int64, double, string, or `repeated` with one of them; objects are JSON text."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int64"
    if isinstance(value, float):
        return "double"
    if isinstance(value, list):
        kinds = {_kind(one) for one in cast("list[Any]", value) if one is not None}
        item = kinds.pop() if len(kinds) == 1 else "double" if kinds == {"int64", "double"} else "string"
        return "string" if item.startswith("repeated ") else f"repeated {item}"
    return "string"


def _avro(kind: str) -> Any:
    item = kind.removeprefix("repeated ")
    return _AVRO_OF[item] if item == kind else {"type": "array", "items": ["null", _AVRO_OF[item]]}


def _type_name(topic: str) -> str:
    name = "".join(part[:1].upper() + part[1:] for part in re.split(r"[^A-Za-z0-9]+", topic))
    return name if name[:1].isalpha() else f"Row{name}"
