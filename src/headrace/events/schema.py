"""Column types: Flink SQL's names, and the Arrow type for each."""

import re
from dataclasses import dataclass

import pyarrow as pa

from headrace.foundation.errors import InvalidDeclarationError

_PLAIN = {
    "BOOLEAN": pa.bool_(), "TINYINT": pa.int8(), "SMALLINT": pa.int16(), "INT": pa.int32(), "INTEGER": pa.int32(),
    "BIGINT": pa.int64(), "FLOAT": pa.float32(), "DOUBLE": pa.float64(), "DOUBLE PRECISION": pa.float64(),
    "STRING": pa.string(), "BYTES": pa.binary(), "DATE": pa.date32(), "TIME": pa.time64("us"),
}  # fmt: skip
NAMES = (*_PLAIN, "VARCHAR(n)", "CHAR(n)", "DECIMAL(p, s)", "TIMESTAMP(p)", "TIMESTAMP_LTZ(p)", "ARRAY<type>")


def arrow_type(name: str) -> pa.DataType:
    """The Arrow type of a Flink SQL type: DECIMAL → decimal128, TIMESTAMP(p) → timestamp[ms|us], TIMESTAMP_LTZ(p) → the same in UTC.

    InvalidDeclarationError lists the valid names.
    """
    text = re.sub(r"\s+", " ", name.strip().upper()).removesuffix(" NOT NULL")
    if text in _PLAIN:
        return _PLAIN[text]
    if re.fullmatch(r"(VARCHAR|CHAR) ?(\( ?\d+ ?\))?", text):
        return pa.string()
    if match := re.fullmatch(r"(?:DECIMAL|NUMERIC)(?: ?\( ?(\d+) ?(?:, ?(\d+) ?)?\))?", text):
        precision, scale = int(match[1] or 10), int(match[2] or 0)
        if 1 <= precision <= 38 and scale <= precision:
            return pa.decimal128(precision, scale)
    if match := re.fullmatch(r"TIMESTAMP(_LTZ)?(?: ?\( ?(\d) ?\))?( WITH LOCAL TIME ZONE)?", text):
        unit = "ms" if int(match[2] or 6) <= 3 else "us"
        return pa.timestamp(unit, tz="UTC" if match[1] or match[3] else None)
    if match := re.fullmatch(r"ARRAY ?< ?(.+) ?>", text):
        return pa.list_(arrow_type(match[1]))
    raise InvalidDeclarationError(f"{name!r} is not a type", next_step=f"use one of: {', '.join(NAMES)}")


def type_name(kind: pa.DataType) -> str:
    """The Flink SQL name of an Arrow type; the inverse of `arrow_type` up to synonyms."""
    if pa.types.is_decimal(kind):
        return f"DECIMAL({kind.precision}, {kind.scale})"
    if pa.types.is_timestamp(kind):
        precision = {"s": 0, "ms": 3, "us": 6, "ns": 9}[kind.unit]
        return f"TIMESTAMP{'_LTZ' if kind.tz else ''}({precision})"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"ARRAY<{type_name(kind.value_type)}>"
    for name, plain in _PLAIN.items():
        if plain == kind:
            return name
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return "STRING"
    raise InvalidDeclarationError(
        f"the Arrow type {kind} has no SQL type here",
        next_step="CAST the column to one of the supported types",
    )


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a row."""

    name: str
    type: str
    """Flink SQL type, such as `DECIMAL(38, 18)`."""


@dataclass(frozen=True, slots=True)
class RowSchema:
    """The columns of a topic of rows, in order."""

    columns: tuple[Column, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    def to_arrow(self) -> pa.Schema:
        return pa.schema([pa.field(column.name, arrow_type(column.type)) for column in self.columns])

    @staticmethod
    def from_arrow(schema: pa.Schema) -> "RowSchema":
        return RowSchema(tuple(Column(field.name, type_name(field.type)) for field in schema))
