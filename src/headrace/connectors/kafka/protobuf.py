"""Protobuf: converts a message's body to a row's JSON value and back, and a message type to columns."""

import importlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from headrace.connectors.kafka.registry import Schema, UnknownSchemaError
from headrace.connectors.kafka.wire import UnreadableMessageError
from headrace.events.schema import Column, RowSchema

_COMPILER_SECONDS = 60.0
_COLUMNS = {
    FieldDescriptor.CPPTYPE_INT32: "INT", FieldDescriptor.CPPTYPE_INT64: "BIGINT",
    FieldDescriptor.CPPTYPE_UINT32: "BIGINT", FieldDescriptor.CPPTYPE_UINT64: "DECIMAL(20, 0)",
    FieldDescriptor.CPPTYPE_FLOAT: "FLOAT", FieldDescriptor.CPPTYPE_DOUBLE: "DOUBLE",
    FieldDescriptor.CPPTYPE_BOOL: "BOOLEAN", FieldDescriptor.CPPTYPE_ENUM: "STRING",
}  # fmt: skip
_KNOWN = {
    "google.protobuf.Timestamp": "TIMESTAMP_LTZ(6)", "google.protobuf.StringValue": "STRING",
    "google.protobuf.BytesValue": "BYTES", "google.protobuf.BoolValue": "BOOLEAN",
    "google.protobuf.Int32Value": "INT", "google.protobuf.Int64Value": "BIGINT",
    "google.protobuf.UInt32Value": "BIGINT", "google.protobuf.UInt64Value": "DECIMAL(20, 0)",
    "google.protobuf.FloatValue": "FLOAT", "google.protobuf.DoubleValue": "DOUBLE",
}  # fmt: skip
MessageType = type[Message]
_TO_DICT: Callable[..., dict[str, Any]] = json_format.MessageToDict
"""The stubs lack its newest option."""


def compiled(schema: Schema) -> list[MessageType]:
    """The top-level messages of a .proto text, in order, by Google's own compiler. UnknownSchemaError: it does not compile."""
    main = f"schema_{schema.id}.proto"
    with tempfile.TemporaryDirectory(prefix="headrace-proto-") as name:
        folder, target = Path(name) / "texts", Path(name) / "set"
        _write_texts(schema, main, folder)
        _compile(schema.id, folder, main, target)
        files = descriptor_pb2.FileDescriptorSet.FromString(target.read_bytes()).file
    pool = descriptor_pool.DescriptorPool()
    for file in files:
        pool.Add(file)
    found = pool.FindFileByName(main)
    return [message_factory.GetMessageClass(found.message_types_by_name[one.name]) for one in files[-1].message_type]


def _write_texts(schema: Schema, main: str, folder: Path) -> None:
    """The text and its imports, each at its import path."""
    texts = {path: other.text for path, other in schema.all_references().items()}
    for path, text in {**texts, main: schema.text}.items():
        place = (folder / path).resolve()
        if not place.is_relative_to(folder.resolve()):
            raise UnknownSchemaError(f"the Protobuf schema {schema.id} imports {path}, which is outside its folder")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, "utf-8")


def _compile(schema_id: int, folder: Path, main: str, target: Path) -> None:
    tools = Path(importlib.import_module("grpc_tools").__file__ or "").parent / "_proto"
    command = [
        sys.executable, "-m", "grpc_tools.protoc", f"-I{folder}", f"-I{tools}", "--include_imports",
        f"--descriptor_set_out={target}", str(folder / main),
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_COMPILER_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise UnknownSchemaError(f"the Protobuf schema {schema_id} takes too long to compile") from error
    if done.returncode:
        raise UnknownSchemaError(f"the Protobuf schema {schema_id} does not compile: {done.stderr[:300].strip()}")


def chosen(messages: list[MessageType], indexes: list[int], schema_id: int) -> MessageType:
    """The message type that the indexes identify, outermost first."""
    try:
        found: Any = messages[indexes[0]].DESCRIPTOR
        for index in indexes[1:]:
            found = found.nested_types[index]
    except IndexError as error:
        raise UnreadableMessageError(f"the Protobuf schema {schema_id} has no message {indexes}") from error
    return message_factory.GetMessageClass(found)


def decode(body: bytes, kind: MessageType, schema_id: int) -> dict[str, Any]:
    """The value in Protobuf's JSON mapping: field names as in the schema; fields without presence get their defaults."""
    try:
        message = kind.FromString(body)
        return _TO_DICT(
            message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True,
            unquote_int64_if_possible=True,
        )  # fmt: skip
    except Exception as error:  # the decoder's errors are of a C module of its own
        raise UnreadableMessageError(f"it does not match the Protobuf schema {schema_id} ({error})") from error


def encode(value: Mapping[str, Any], kind: MessageType) -> bytes:
    """A row's JSON value as a body. ValueError: it does not fit."""
    fields: Any = kind.DESCRIPTOR.fields_by_name
    texts = {name: _text(one) for name, one in value.items() if _is_text(fields.get(name))}
    try:
        return json_format.ParseDict({**value, **texts}, kind()).SerializeToString(deterministic=True)
    except json_format.ParseError as error:
        raise ValueError(str(error)) from error


def columns(kind: MessageType) -> RowSchema | None:
    """The columns of a message's fields: nested messages and maps are JSON text. None: it has no fields."""
    described: Any = kind.DESCRIPTOR
    if not described.fields:
        return None
    return RowSchema(tuple(Column(one.name, _column(one)) for one in described.fields))


def _column(field: FieldDescriptor) -> str:
    kind = _one(field)
    if not field.is_repeated:
        return kind
    is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
    return "STRING" if is_map else f"ARRAY<{kind}>"


def _one(field: FieldDescriptor) -> str:
    if field.message_type is not None:
        return _KNOWN.get(field.message_type.full_name, "STRING")
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return "BYTES" if field.type == FieldDescriptor.TYPE_BYTES else "STRING"
    return _COLUMNS[field.cpp_type]


def _is_text(field: FieldDescriptor | None) -> bool:
    return field is not None and field.type == FieldDescriptor.TYPE_STRING and not field.is_repeated


def _text(value: Any) -> Any:
    return msgspec.json.encode(value).decode() if isinstance(value, dict | list) else value
