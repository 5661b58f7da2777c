"""Rows ↔ records: exact, canonical, and honest about what does not fit."""

import datetime as dt
import math
from decimal import Context, Decimal
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.events.codec import CONTROL, encode
from headrace.events.control import Control
from headrace.events.row_batch import RowBatch, concat, empty
from headrace.events.row_codec import batch_to_records, records_to_batch, row_values, text_of
from headrace.events.schema import Column, RowSchema, arrow_type
from headrace.foundation.errors import CorruptDataError, FinalError
from headrace.log.record import NewRecord, Record

WIDE = Context(prec=60)
"""Wide enough that moving the point of 38 digits rounds nothing."""
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
MOMENTS = st.integers(-62_135_596_800_000, 253_402_300_799_999)
MOMENTS_US = st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "BOOLEAN": st.booleans(),
    "TINYINT": st.integers(-(2**7), 2**7 - 1),
    "SMALLINT": st.integers(-(2**15), 2**15 - 1),
    "INT": st.integers(-(2**31), 2**31 - 1),
    "BIGINT": st.integers(-(2**63), 2**63 - 1),
    "FLOAT": st.floats(width=32, allow_nan=False, allow_infinity=False),
    "DOUBLE": st.floats(allow_nan=False, allow_infinity=False),
    "STRING": TEXT,
    "BYTES": st.binary(max_size=12),
    "DATE": st.dates(),
    "TIME": st.integers(0, 86_400_000_000 - 1),
    "DECIMAL(38, 18)": st.integers(-(10**38) + 1, 10**38 - 1).map(lambda n: Decimal(n).scaleb(-18, context=WIDE)),
    "DECIMAL(9, 0)": st.integers(-(10**9) + 1, 10**9 - 1).map(Decimal),
    "DECIMAL(5, 5)": st.integers(-(10**5) + 1, 10**5 - 1).map(lambda n: Decimal(n).scaleb(-5)),
    "TIMESTAMP(3)": MOMENTS,
    "TIMESTAMP(6)": MOMENTS_US,
    "TIMESTAMP_LTZ(3)": MOMENTS,
    "TIMESTAMP_LTZ(6)": MOMENTS_US,
}


def column_of(name: str) -> st.SearchStrategy[Any]:
    if name.startswith("ARRAY<"):
        return st.lists(st.none() | column_of(name[6:-1]), max_size=3)
    return VALUES[name]


TYPES = st.sampled_from(sorted(VALUES))
ANY_TYPE = TYPES | TYPES.map("ARRAY<{}>".format) | TYPES.map("ARRAY<ARRAY<{}>>".format)


def batch_of(schema: RowSchema, rows: list[tuple[Any, ...]]) -> RowBatch:
    arrays = [pa.array([row[index] for row in rows], kind) for index, kind in enumerate(schema.to_arrow().types)]
    count = range(len(rows))
    return RowBatch(
        pa.Table.from_arrays(arrays, schema=schema.to_arrow()),
        schema,
        pa.array([f"s:{n}" for n in count], pa.string()),
        pa.array([f"k{n % 2}" for n in count], pa.string()),
        pa.array([1_000 + n for n in count], pa.int64()),
        pa.array([2_000 + n for n in count], pa.int64()),
        pa.array(['{"source":"s"}' for _ in count], pa.string()),
        pa.array([7 + n for n in count], pa.int64()),
    )


def stored(records: list[NewRecord], first: int = 7) -> list[Record]:
    return [
        Record(first + n, r.id, r.kind, r.value, r.event_time, r.key, r.origin, r.ingested_at)
        for n, r in enumerate(records)
    ]


def one(kind: str, value: Any) -> bytes:
    return batch_to_records(batch_of(RowSchema((Column("x", kind),)), [(value,)]))[0].value


@st.composite
def batches(draw: st.DrawFn) -> RowBatch:
    names = draw(st.lists(TEXT.filter(bool), min_size=1, max_size=4, unique=True))
    schema = RowSchema(tuple(Column(name, draw(ANY_TYPE)) for name in names))
    row = st.tuples(*(st.none() | column_of(column.type) for column in schema.columns))
    return batch_of(schema, draw(st.lists(row, max_size=5)))


@given(batches())
@settings(max_examples=150, deadline=None)
def test_rows_come_back_from_their_records_as_they_were(batch: RowBatch) -> None:
    back = records_to_batch(stored(batch_to_records(batch)), batch.schema)

    assert back.table.equals(batch.table)
    for name in ("ids", "keys", "event_times", "ingested_at", "origins", "offsets"):
        assert getattr(back, name).equals(getattr(batch, name)), name


@given(batches(), st.data())
@settings(max_examples=40, deadline=None)
def test_how_rows_are_cut_into_batches_changes_no_byte(batch: RowBatch, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, batch.num_rows))

    parts = [batch.slice(0, cut), batch.slice(cut)]

    assert [r for part in parts for r in batch_to_records(part)] == batch_to_records(batch)
    assert batch_to_records(concat(parts)) == batch_to_records(batch)


@given(batches())
@settings(max_examples=40, deadline=None)
def test_every_value_is_one_compact_json_object_without_nulls_among_its_columns(batch: RowBatch) -> None:
    for record, row in zip(batch_to_records(batch), batch.table.to_pylist(), strict=True):
        decoded = msgspec.json.decode(record.value)
        assert msgspec.json.encode(decoded) == record.value
        assert set(decoded) == {name for name, value in row.items() if value is not None}


def test_the_canonical_form_of_each_type_is_what_the_page_says() -> None:
    assert one("DECIMAL(38, 18)", Decimal("1.500")) == b'{"x":"1.5"}'
    assert one("DECIMAL(38, 18)", Decimal("1E-18")) == b'{"x":"0.000000000000000001"}'
    assert one("DECIMAL(38, 18)", Decimal(0)) == b'{"x":"0"}'
    assert one("DECIMAL(38, 18)", Decimal(-100)) == b'{"x":"-100"}'
    assert one("DECIMAL(9, 0)", Decimal(100)) == b'{"x":"100"}'
    assert (
        one("TIMESTAMP_LTZ(3)", dt.datetime(2019, 10, 11, 0, 0, 11, 620_000, dt.UTC))
        == b'{"x":"2019-10-11T00:00:11.620Z"}'
    )
    assert (
        one("TIMESTAMP(6)", dt.datetime(2019, 10, 11, tzinfo=dt.UTC).replace(tzinfo=None))
        == b'{"x":"2019-10-11T00:00:00.000000"}'
    )
    assert one("DATE", dt.date(2019, 1, 2)) == b'{"x":"2019-01-02"}'
    assert one("TIME", dt.time(1, 2, 3)) == b'{"x":"01:02:03.000000"}'
    assert one("BYTES", b"\x00\xff") == b'{"x":"AP8="}'
    assert one("FLOAT", 0.1) == b'{"x":0.1}'
    assert one("DOUBLE", 1.0) == b'{"x":1.0}'
    assert one("STRING", 'a"b\nü') == '{"x":"a\\"b\\nü"}'.encode()
    assert one("ARRAY<DECIMAL(5, 2)>", [Decimal("1.10"), None]) == b'{"x":["1.1",null]}'
    assert one("STRING", None) == b"{}"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("kind", ["DOUBLE", "FLOAT"])
def test_a_number_that_is_not_finite_is_null(kind: str, value: float) -> None:
    assert one(kind, value) == b"{}"
    assert one(f"ARRAY<{kind}>", [value, 1.0]) == b'{"x":[null,1.0]}'


def test_an_empty_batch_has_no_records_and_no_records_are_an_empty_batch() -> None:
    schema = RowSchema((Column("x", "DECIMAL(38, 18)"), Column("y", "ARRAY<BYTES>")))

    assert batch_to_records(empty(schema)) == []
    assert records_to_batch([], schema).table.equals(schema.to_arrow().empty_table())


def test_chunked_columns_and_columns_in_another_order_or_a_wider_type_are_taken() -> None:
    schema = RowSchema((Column("a", "BIGINT"), Column("b", "STRING")))
    table = pa.table({"b": pa.chunked_array([["x"], ["y"]]), "a": pa.chunked_array([[1], [2]], pa.int32())})
    plain = batch_of(schema, [(1, "x"), (2, "y")])
    batch = RowBatch(table, schema, *(pa.chunked_array([getattr(plain, name)]) for name in ("ids", "keys", "event_times", "ingested_at", "origins", "offsets")))  # fmt: skip

    assert batch_to_records(batch) == batch_to_records(plain)


def record(value: bytes, offset: int = 3, kind: str = "row/1") -> Record:
    return Record(offset, "id", kind, value, 0, "", "", 0)


def test_columns_that_the_schema_does_not_have_are_left_out_and_missing_ones_are_null() -> None:
    schema = RowSchema((Column("a", "BIGINT"), Column("b", "TIMESTAMP_LTZ(3)")))

    batch = records_to_batch([record(b'{"z":{"deep":[1]},"a":1}'), record(b"{}")], schema)

    assert batch.table.to_pylist() == [{"a": 1, "b": None}, {"a": None, "b": None}]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("BIGINT", b'{"x":"1"}'),
        ("BIGINT", b'{"x":1'),
        ("BIGINT", b""),
        ("BIGINT", b'{"x":1}\n{"x":2}'),
        ("BIGINT", b"\xff\xfe"),
        ("TINYINT", b'{"x":300}'),
        ("DECIMAL(5, 2)", b'{"x":"12345.6"}'),
        ("DECIMAL(5, 2)", b'{"x":"one"}'),
        ("TIMESTAMP(3)", b'{"x":"yesterday"}'),
        ("BYTES", b'{"x":"!"}'),
        ("BYTES", '{"x":"ü"}'.encode()),
        ("ARRAY<BIGINT>", b'{"x":[1,"a"]}'),
        ("BIGINT", b"[1]"),
    ],
)
def test_a_value_that_does_not_fit_is_named_by_its_offset(kind: str, value: bytes) -> None:
    records = [record(b"{}", 3), record(value, 4), record(b"{}", 5)]

    with pytest.raises(CorruptDataError, match="offset 4 "):
        records_to_batch(records, RowSchema((Column("x", kind),)))


def test_a_control_record_is_never_read_as_a_row() -> None:
    sign = record(encode(Control("idle", "s")), kind=CONTROL)

    with pytest.raises(CorruptDataError, match="offset 3 holds control/1, not row/1"):
        records_to_batch([sign], RowSchema((Column("x", "BIGINT"),)))


def test_years_that_no_text_of_the_usual_form_can_hold_are_refused() -> None:
    far = batch_of(RowSchema((Column("at", "TIMESTAMP_LTZ(3)"),)), [(253_402_300_800_000,)])

    with pytest.raises(FinalError, match="'at' contains 10000-01-01"):
        batch_to_records(far)


def test_a_row_of_a_thousand_long_strings_is_read_whole() -> None:
    schema = RowSchema((Column("x", "STRING"),))
    rows = [("ü" * 5_000,) for _ in range(1_000)]

    assert records_to_batch(stored(batch_to_records(batch_of(schema, rows))), schema).table.to_pylist() == [
        {"x": "ü" * 5_000} for _ in range(1_000)
    ]


def test_row_values_are_the_json_object_and_bad_ones_name_their_offset() -> None:
    assert row_values(record(b'{"price":"1.5","n":[1,null]}')) == {"price": "1.5", "n": [1, None]}
    for bad in (b"[1]", b"{", b"\xff"):
        with pytest.raises(CorruptDataError, match="offset 3"):
            row_values(record(bad))


def test_a_value_stands_in_a_prompt_as_text() -> None:
    assert [text_of(value) for value in (None, "a b", 1, 1.5, True, [1, "ü"], {"a": None})] == [
        "", "a b", "1", "1.5", "true", '[1,"ü"]', '{"a":null}',
    ]  # fmt: skip


def test_every_type_of_the_schema_has_a_case_here() -> None:
    for name in VALUES:
        assert arrow_type(name) is not None
    assert len(VALUES) >= 18


def test_real_trades_become_the_same_rows_as_json_says_and_come_back_byte_for_byte_equal(shared_data: Path) -> None:
    lines = (shared_data / "market" / "trades-XRP_ETH.jsonl").read_bytes().splitlines()[:5_000]
    types = {"event_time": "TIMESTAMP_LTZ(3)", "trade_id": "BIGINT", "price": "DOUBLE", "amount": "DOUBLE"}
    names = list(msgspec.json.decode(lines[0]))
    schema = RowSchema(tuple(Column(name, types.get(name, "STRING")) for name in names))

    batch = records_to_batch([record(line, offset) for offset, line in enumerate(lines)], schema)
    records = stored(batch_to_records(batch), 0)

    assert len(records) == 5_000
    assert [row_values(r) for r in records] == [msgspec.json.decode(line) for line in lines]
    assert batch_to_records(records_to_batch(records, schema)) == batch_to_records(batch)
