"""Avro: converts a message's body to a row's JSON value and back, and a schema to columns."""

import io
import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, cast

import fastavro

from headrace.connectors.kafka.registry import Schema, UnknownSchemaError
from headrace.connectors.kafka.wire import UnreadableMessageError
from headrace.events.schema import Column, RowSchema

_COLUMNS = {
    "boolean": "BOOLEAN", "int": "INT", "long": "BIGINT", "float": "FLOAT", "double": "DOUBLE", "bytes": "BYTES",
    "fixed": "BYTES", "string": "STRING", "enum": "STRING",
}  # fmt: skip
_LOGICAL = {
    "date": "DATE", "time-millis": "TIME", "time-micros": "TIME", "uuid": "STRING",
    "timestamp-millis": "TIMESTAMP_LTZ(3)", "timestamp-micros": "TIMESTAMP_LTZ(6)",
    "local-timestamp-millis": "TIMESTAMP(3)", "local-timestamp-micros": "TIMESTAMP(6)",
}  # fmt: skip
_LONGEST_DECIMAL = 38


def parsed(schema: Schema) -> Any:
    """A parsed schema for fastavro. UnknownSchemaError: it is not valid."""
    named: dict[str, Any] = {}
    try:
        for other in schema.all_references().values():
            fastavro.parse_schema(json.loads(other.text), named_schemas=named)
        return fastavro.parse_schema(json.loads(schema.text), named_schemas=named)
    except Exception as error:  # a registry may contain anything
        raise UnknownSchemaError(f"the Avro schema {schema.id} is not valid: {error}") from error


def decode(body: bytes, schema: Any, schema_id: int) -> Any:
    """The value as JSON."""
    try:
        return _plain(fastavro.schemaless_reader(io.BytesIO(body), schema, None))
    except Exception as error:  # invalid bytes raise many kinds of errors
        said = f"{type(error).__name__}: {error}".rstrip(": ")
        raise UnreadableMessageError(f"it does not match the Avro schema {schema_id} ({said})") from error


def encode(value: Mapping[str, Any], schema: Any) -> bytes:
    """A row's JSON value as a body. ValueError: it does not fit."""
    out = io.BytesIO()
    try:
        fastavro.schemaless_writer(out, schema, _fitted(value, schema, Names(schema)), strict_allow_default=True)
    except Exception as error:  # a value of the wrong type raises many kinds of errors
        raise ValueError(f"{type(error).__name__}: {error}") from error
    return out.getvalue()


def columns(schema: Any) -> RowSchema | None:
    """The columns of a record's fields: nested records, maps and other unions are JSON text. None: it is not a record."""
    names = Names(schema)
    record = names.resolved(schema)
    if _type(record) != "record" or not record["fields"]:
        return None
    return RowSchema(tuple(Column(one["name"], _column(one["type"], names)) for one in record["fields"]))


class Names:
    """The named types in a parsed schema: later uses refer to them by name only."""

    def __init__(self, schema: Any) -> None:
        self._known: dict[str, Any] = dict(schema.get("__named_schemas", {})) if isinstance(schema, dict) else {}
        self._collect(schema)

    def resolved(self, schema: Any) -> Any:
        """The definition of a name; anything else unchanged."""
        return self._known.get(schema, schema) if isinstance(schema, str) else schema

    def alone(self, schema: Any) -> Any:
        """A type with all definitions it may refer to, in fastavro's parsed form."""
        found = self.resolved(schema)
        parsed_before = {"__fastavro_parsed__": True, "__named_schemas": self._known}
        return {**found, **parsed_before} if isinstance(found, dict) else found

    def _collect(self, schema: Any) -> None:
        if isinstance(schema, list):
            for one in schema:
                self._collect(one)
        elif isinstance(schema, dict):
            if "name" in schema and "type" in schema:
                self._known.setdefault(schema["name"], schema)
            for one in schema.get("fields", ()):
                self._collect(one["type"])
            for part in ("items", "values", "type"):
                if isinstance(schema.get(part), dict | list):
                    self._collect(schema[part])


def _type(schema: Any) -> str:
    if isinstance(schema, str):
        return schema
    return "union" if isinstance(schema, list) else _type(schema["type"])


def _column(schema: Any, names: Names) -> str:
    schema = names.resolved(schema)
    if isinstance(schema, list):
        others = [one for one in schema if one != "null"]
        return _column(others[0], names) if len(others) == 1 else "STRING"
    kind = _type(schema)
    if isinstance(schema, dict):
        if (logical := schema.get("logicalType")) == "decimal":
            precision, scale = schema["precision"], schema.get("scale", 0)
            return f"DECIMAL({precision}, {scale})" if precision <= _LONGEST_DECIMAL else "STRING"
        if logical in _LOGICAL:
            return _LOGICAL[logical]
        if kind == "array":
            items = _column(schema["items"], names)
            return "STRING" if items.startswith("ARRAY") else f"ARRAY<{items}>"
    return _COLUMNS.get(kind, "STRING")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in cast("list[Any]", value)]
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, bytes):
        return b64encode(value).decode()
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, date | time):
        return value.isoformat()
    return value if isinstance(value, bool | int | float | str | None) else str(value)


def _fitted(value: Any, schema: Any, names: Names) -> Any:
    """Converts a JSON value to what fastavro expects for a type: text becomes times, decimals or bytes."""
    schema = names.resolved(schema)
    if isinstance(schema, list):
        return _fitted_union(value, schema, names)
    kind = _type(schema)
    if kind == "record":
        fields = {one["name"]: one for one in schema["fields"]}
        return {name: _fitted(one, fields[name]["type"], names) for name, one in value.items() if name in fields}
    if kind == "array":
        return [_fitted(one, schema["items"], names) for one in value]
    if kind == "map":
        return {key: _fitted(one, schema["values"], names) for key, one in value.items()}
    logical = schema.get("logicalType") if isinstance(schema, dict) else None
    if logical in _TEXTS and isinstance(value, str):
        return _TEXTS[logical](value)
    if kind in ("bytes", "fixed") and isinstance(value, str):
        return b64decode(value, validate=True)
    if kind in ("float", "double") and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind == "string" and isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return value


def _fitted_union(value: Any, schema: list[Any], names: Names) -> Any:
    if value is None:
        return None
    for one in schema:
        if one == "null":
            continue
        try:
            fitted = _fitted(value, one, names)
        except (ValueError, ArithmeticError, TypeError, AttributeError):
            continue
        if fastavro.validate(fitted, names.alone(one), raise_errors=False):
            return fitted
    raise ValueError(f"{value!r} matches none of {[_type(one) for one in schema]}")


def _moment(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


_TEXTS: dict[str, Callable[[str], Any]] = {
    "decimal": Decimal, "date": date.fromisoformat, "time-millis": time.fromisoformat, "time-micros": time.fromisoformat,
    "timestamp-millis": _moment, "timestamp-micros": _moment,
    "local-timestamp-millis": datetime.fromisoformat, "local-timestamp-micros": datetime.fromisoformat,
}  # fmt: skip
