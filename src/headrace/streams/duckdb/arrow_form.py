"""Types on the way into DuckDB and back: inside, a time is a TIMESTAMP in microseconds without zone, in UTC."""

import pyarrow as pa

from headrace.streams.expression import Slot


def inner_type(kind: pa.DataType) -> pa.DataType:
    """The Arrow type that a column has between steps."""
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us")
    if pa.types.is_list(kind):
        return pa.list_(inner_type(kind.value_type))
    return pa.string() if kind == pa.null() else kind


def inward(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """A declared column as it goes between steps."""
    return column if column.type == inner_type(kind) else column.cast(inner_type(kind))


def outward(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """A column as it was declared. Parts of a millisecond that the type has no room for are cut."""
    if column.type == kind:
        return column
    if pa.types.is_timestamp(kind):
        return column.cast(pa.timestamp(kind.unit), safe=False).cast(kind)
    return column.cast(kind)


def inner_schema(slots: tuple[Slot, ...], hidden: tuple[str, ...] = ()) -> pa.Schema:
    """The columns of a step's output; hidden ones are BIGINT."""
    fields = [pa.field(slot.column, inner_type(slot.type)) for slot in slots]
    return pa.schema([*fields, *(pa.field(name, pa.int64()) for name in hidden)])


def shaped(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table's columns of `schema`, in its order and types."""
    return pa.table([table[one.name].cast(one.type) for one in schema], schema=schema)
