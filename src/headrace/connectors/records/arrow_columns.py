"""Converts columns that are already typed (Parquet) to the declared types.

A float that is not finite becomes NULL, as everywhere in a topic of rows; values that cannot be cast are converted via text.
"""

from dataclasses import replace

import numpy as np
import pyarrow as pa

from headrace.connectors.records.dead_letters import UNREADABLE
from headrace.connectors.records.json_lines import without
from headrace.connectors.records.kernels import pc
from headrace.connectors.records.rows import column_text
from headrace.connectors.records.text_columns import type_text
from headrace.connectors.records.typed_block import Reject
from headrace.events.schema import RowSchema


def type_table(table: pa.Table, schema: RowSchema) -> tuple[pa.Table, tuple[Reject, ...]]:
    """The good rows of the table under the schema, and the rejects of the others. Absent columns are NULL.

    A row on which typing itself fails is also rejected: bisection finds it.
    """
    try:
        return _typed(table, schema)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - one row must not stop the others
        if table.num_rows == 1:
            reason = f"{type(error).__name__}: {error}"
            return schema.to_arrow().empty_table(), (Reject(0, UNREADABLE, reason),)
    half = table.num_rows // 2
    first, faults = type_table(table.slice(0, half), schema)
    second, more = type_table(table.slice(half), schema)
    moved = (replace(fault, index=fault.index + half) for fault in more)
    return pa.concat_tables([first, second]), (*faults, *moved)


def _typed(table: pa.Table, schema: RowSchema) -> tuple[pa.Table, tuple[Reject, ...]]:
    rejects: dict[int, Reject] = {}
    columns: list[pa.Array] = []
    target = schema.to_arrow()
    for declared, column in zip(schema.columns, target, strict=True):
        typed, bad = _type_column(_column(table, declared.name), column.type)
        columns.append(typed)
        for index in bad:
            shown = str(table.column(declared.name)[index].as_py())[:60]
            reason = f"column {declared.name}: {shown!r} is not {declared.type}"
            rejects.setdefault(index, Reject(index, "wrong_type", reason))
    good = without(pa.Table.from_arrays(columns, schema=target), rejects)
    return good, tuple(rejects[index] for index in sorted(rejects))


def _column(table: pa.Table, name: str) -> pa.Array:
    if name not in table.column_names:
        return pa.nulls(table.num_rows)
    column = table.column(name).combine_chunks()
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _type_column(column: pa.Array, kind: pa.DataType) -> tuple[pa.Array, list[int]]:
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_finite(column), column, pa.scalar(None, column.type))
    if column.type == kind:
        return column, []
    try:
        return _cast(column, kind), []
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        text = column_text(column)
        if not pa.types.is_string(text.type):
            return pa.nulls(len(column), kind), np.flatnonzero(
                column.is_valid().to_numpy(zero_copy_only=False)
            ).tolist()
        return type_text(text, kind)


def _cast(column: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_timestamp(kind) and pa.types.is_timestamp(column.type) and column.type.unit != kind.unit:
        unit = {"ms": "millisecond", "us": "microsecond"}[kind.unit]
        column = pc.floor_temporal(column.cast(pa.timestamp(column.type.unit)), unit=unit)
        return column.cast(pa.timestamp(kind.unit)).cast(kind)
    if pa.types.is_string(kind) or (pa.types.is_timestamp(kind) and pa.types.is_integer(column.type)):
        raise pa.ArrowInvalid("by way of its text")
    return column.cast(kind)
