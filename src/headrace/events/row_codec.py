"""Rows to records and back: Arrow columns ↔ one canonical JSON object each (`row/1`, see `row_batch`).

Works column by column, not value by value, as far as Arrow can. A round trip is the identity, except as the canonical
form requires: an infinite or NaN DOUBLE becomes NULL.
"""

from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from functools import lru_cache
from itertools import islice
from typing import Any, cast

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.json

from headrace.events.codec import ROW
from headrace.events.row_batch import RowBatch, empty
from headrace.events.schema import RowSchema
from headrace.foundation.errors import CorruptDataError, FinalError
from headrace.log.record import NewRecord, Record

pc: Any = pyarrow.compute  # its functions are created at import time, so type checkers do not see them
_TIMESTAMP_LENGTH = {"ms": 23, "us": 26}
"""Length of `2019-10-11T00:00:11.620`, and of the same with microseconds."""
_ENCODER = msgspec.json.Encoder()


def batch_to_records(batch: RowBatch, kind: str = ROW) -> list[NewRecord]:
    """One record per row, in order; equal rows give equal bytes. FinalError: a value that the canonical form cannot represent."""
    schema = batch.schema.to_arrow()
    table = batch.table.select(schema.names)
    try:
        table = table if table.schema.equals(schema) else table.cast(schema)
        columns = [_to_json(name, _one_chunk(table.column(name))) for name in schema.names]
    except pa.ArrowException as error:
        raise FinalError(f"the rows do not fit their schema: {error}") from error
    encode = _row_encoder(tuple(schema.names))
    return [
        NewRecord(record_id, kind, encode(*values), event_time, key, origin, ingested_at)
        for record_id, event_time, key, origin, ingested_at, *values in zip(
            *(_plain_list(_one_chunk(column)) for column in (batch.ids, batch.event_times, batch.keys, batch.origins, batch.ingested_at)),
            *columns, strict=True,
        )
    ]  # fmt: skip


def records_to_batch(records: Sequence[Record], schema: RowSchema, kind: str = ROW) -> RowBatch:
    """The rows of records of `kind`, in order; missing columns are NULL, columns not in the schema are ignored.

    CorruptDataError names the offset of a record that is of another kind, does not parse or has a value of another type.
    """
    if not records:
        return empty(schema)
    for record in records:
        if record.kind != kind:
            raise CorruptDataError(f"offset {record.offset} holds {record.kind}, not {kind}")
    try:
        table = _parse([record.value for record in records], schema.to_arrow())
    except (pa.ArrowException, ValueError) as error:
        raise _name_the_record(records, schema.to_arrow(), error) from error
    return RowBatch(
        table,
        schema,
        ids=pa.array([record.id for record in records], pa.string()),
        keys=pa.array([record.key for record in records], pa.string()),
        event_times=pa.array([record.event_time for record in records], pa.int64()),
        ingested_at=pa.array([record.ingested_at for record in records], pa.int64()),
        origins=pa.array([record.origin for record in records], pa.string()),
        offsets=pa.array([record.offset for record in records], pa.int64()),
    )


def row_values(record: Record) -> dict[str, object]:
    """The row as a JSON object, without NULL columns. CorruptDataError names the offset."""
    try:
        return msgspec.json.decode(record.value, type=dict[str, object])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CorruptDataError(f"offset {record.offset} holds a row that does not parse: {error}") from error


def text_of(value: object) -> str:
    """A column's value (from `row_values`) as text in a prompt: strings unchanged, NULL as nothing, all else as JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else _ENCODER.encode(value).decode()


@lru_cache(maxsize=256)
def _row_encoder(names: tuple[str, ...]) -> Callable[..., bytes]:
    """Encodes one row given as positional values, without its Nones."""
    if any(letter in '"\\' or letter < " " for name in names for letter in name):
        return lambda *values: _ENCODER.encode(
            {name: value for name, value in zip(names, values, strict=True) if value is not None}
        )
    # A struct with defaults is msgspec's fastest way to encode an object with omitted keys; its fields need plain names.
    fields = [(f"c{index}", object, None) for index in range(len(names))]
    row = msgspec.defstruct(
        "Row", fields, rename={f"c{index}": name for index, name in enumerate(names)}, omit_defaults=True, gc=False
    )
    return lambda *values: _ENCODER.encode(row(*values))


def _text(value: str) -> pa.Scalar:
    """A string for a compute function. Plain constants, `pa.scalar` and `to_numpy` make pyarrow load pandas if it is installed."""
    data = value.encode()
    offsets = np.array([0, len(data)], np.int32)
    return pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(offsets), pa.py_buffer(data)])[0]


def _int32(value: int) -> pa.Scalar:
    return pa.Array.from_buffers(pa.int32(), 1, [None, pa.py_buffer(np.array([value], np.int32))])[0]


_FALSE = pa.Array.from_buffers(pa.bool_(), 1, [None, pa.py_buffer(b"\0")])[0]


def _to_json(name: str, array: pa.Array) -> list[object]:
    """The values in JSON form; None for NULL."""
    kind = array.type
    if pa.types.is_list(kind):
        items = iter(_to_json(name, array.flatten()))
        return [
            None if length is None else list(islice(items, length))
            for length in pc.list_value_length(array).to_pylist()
        ]
    if pa.types.is_floating(kind):
        array = pc.if_else(pc.is_finite(array), array, pa.nulls(1, kind)[0])
        if pa.types.is_float32(kind):  # via its shortest text: 0.1, not 0.10000000149011612
            array = array.cast(pa.string()).cast(pa.float64())
    elif pa.types.is_decimal(kind):
        array = _decimal_text(array)
    elif pa.types.is_timestamp(kind):
        # As naive UTC: looking up the zone for each value would take fifty times as long.
        array = array.cast(pa.timestamp(kind.unit)).cast(pa.string())
        _check_length(name, array, _TIMESTAMP_LENGTH[kind.unit])
        array = pc.binary_replace_slice(array, 10, 11, "T")
        array = pc.binary_join_element_wise(array, _text("Z"), _text("")) if kind.tz else array
    elif pa.types.is_date(kind):
        array = array.cast(pa.string())
        _check_length(name, array, len("2019-10-11"))
    elif pa.types.is_time(kind):
        array = array.cast(pa.string())
    elif pa.types.is_binary(kind):
        return [None if value is None else b64encode(value).decode() for value in array.to_pylist()]
    return _plain_list(array)


def _decimal_text(array: pa.Array) -> pa.Array:
    """Plain notation without trailing zeros: 1.5, 100, 0.000000000000000001, 0."""
    text = array.cast(pa.string())
    if array.type.scale == 0:
        return text
    scientific = pc.fill_null(pc.match_substring(text, "E"), fill_value=_FALSE)
    if pc.any(scientific).as_py():
        plain = [format(Decimal(cast("str", value)), "f") for value in text.filter(scientific).to_pylist()]
        text = pc.replace_with_mask(text, scientific, pa.array(plain, pa.string()))
    return pc.utf8_rtrim(pc.utf8_rtrim(text, "0"), ".")


def _check_length(name: str, text: pa.Array, length: int) -> None:
    """Years before 1 and after 9999 have no ISO-8601 text of the usual length."""
    wrong = text.filter(pc.not_equal(pc.utf8_length(text), _int32(length)))
    if len(wrong):
        raise FinalError(f"the column {name!r} contains {wrong[0].as_py()}: only the years 1 to 9999 can be written")


def _plain_list(array: pa.Array) -> list[object]:
    """`to_pylist`, via NumPy where that is faster."""
    kind = array.type
    if len(array) and array.null_count == 0 and (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        width = kind.bit_width // 8
        letter = "f" if pa.types.is_floating(kind) else "i" if pa.types.is_signed_integer(kind) else "u"
        return np.frombuffer(array.buffers()[1], f"{letter}{width}", len(array), array.offset * width).tolist()
    return array.to_pylist()


def _one_chunk(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _parse(values: Sequence[bytes], schema: pa.Schema) -> pa.Table:
    data = b"\n".join(values)
    transport = pa.schema([pa.field(field.name, _transport(field.type)) for field in schema])
    table = pyarrow.json.read_json(
        pa.BufferReader(data),
        # One block, so that no row is split.
        read_options=pyarrow.json.ReadOptions(use_threads=False, block_size=len(data) + 1),
        parse_options=pyarrow.json.ParseOptions(explicit_schema=transport, unexpected_field_behavior="ignore"),
    )
    if table.num_rows != len(values):
        raise pa.ArrowInvalid(f"{len(values)} values hold {table.num_rows} rows")
    columns = [_from_transport(_one_chunk(table.column(field.name)), field.type) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def _transport(kind: pa.DataType) -> pa.DataType:
    """The type used to carry a type in JSON."""
    if pa.types.is_list(kind):
        return pa.list_(_transport(kind.value_type))
    as_it_is = pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)
    return kind if as_it_is else pa.string()


def _from_transport(array: pa.Array, kind: pa.DataType) -> pa.Array:
    if array.type == kind:
        return array
    if pa.types.is_list(kind):
        values = _from_transport(array.values, kind.value_type)
        return pa.ListArray.from_arrays(array.offsets, values, kind, mask=array.is_null())
    if pa.types.is_binary(kind):
        return pa.array(_decode_base64(array.to_pylist()), kind)
    if pa.types.is_time(kind):  # Arrow cannot parse text as a time of day, only as a timestamp
        return pc.binary_join_element_wise("1970-01-01T", array, "").cast(pa.timestamp("us")).cast(kind)
    return array.cast(kind)


def _decode_base64(texts: Iterable[str | None]) -> list[bytes | None]:
    return [None if text is None else b64decode(text, validate=True) for text in texts]


def _name_the_record(records: Sequence[Record], schema: pa.Schema, error: Exception) -> CorruptDataError:
    """Parses records one by one to find the faulty one."""
    for record in records:
        try:
            _parse([record.value], schema)
        except (pa.ArrowException, ValueError) as reason:
            return CorruptDataError(f"offset {record.offset} holds a row that does not fit its schema: {reason}")
    return CorruptDataError(f"offsets {records[0].offset} to {records[-1].offset} hold rows that do not parse: {error}")
