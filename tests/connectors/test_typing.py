"""Text into types: one rule for every format, whichever way a value takes."""

import json
from decimal import ROUND_HALF_UP, Context, Decimal

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.connectors.records.csv_records import CsvRecords
from headrace.connectors.records.inference import infer_json, infer_text
from headrace.connectors.records.json_lines import JsonLines
from headrace.connectors.records.text_columns import type_text
from headrace.connectors.records.typed_block import TypedBlock
from headrace.events.schema import Column, RowSchema, arrow_type

TYPES = [
    "BIGINT", "INT", "TINYINT", "DOUBLE", "FLOAT", "BOOLEAN", "STRING", "DATE", "TIME", "BYTES", "DECIMAL(38, 18)",
    "DECIMAL(5, 2)", "TIMESTAMP(3)", "TIMESTAMP_LTZ(3)", "TIMESTAMP_LTZ(6)", "ARRAY<BIGINT>", "ARRAY<STRING>",
]  # fmt: skip
TRICKY = [
    "5", "-7", "007", "+5", " 5", "0x1F", "1_0", "1e3", "1.5", "1.", ".5", "1e400", "-1e400", "NaN", "inf", "Infinity", "",
    "true", "False", "null", "9223372036854775807", "9223372036854775808", "1e30", "1e57", "1e58", "1e59", "1e60", "1e300",
    "1e-30", "123456789012345678901.5", "99999999999999999999.9999999999999999995", "0.0000000000000000005",
    "5.330000000000001e-05", "2019-10-11T00:00:11.620Z", "2019-10-11T00:00:11.620+02:00", "2019-10-11 00:00:11",
    "2019-10-11T00:00:11.620123456Z", "1969-12-31T23:59:59.9999Z", "2019-10-11", "2019-13-11", "10:11:12", "25:00:00",
    "aGk=", "a", "[1, 2]", '["x"]', "[1.5]", "{}", "-0", "1E+2", "0.10", "٣", "1000-01-01T00:00:00Z",
]  # fmt: skip
JSON_VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8), st.sampled_from(TRICKY), st.lists(st.integers(-5, 5) | st.text(max_size=2), max_size=3),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=1),
)  # fmt: skip


def parse(kind: str, lines: list[str], *, piecewise: bool = False) -> TypedBlock:
    parser = JsonLines(RowSchema((Column("a", kind), Column("n", "BIGINT"))), 1 << 20)
    if piecewise:
        parser._read_whole = lambda *_: None  # type: ignore[method-assign]
    return parser.parse("".join(line + "\n" for line in lines).encode(), final=True)


def outcome(block: TypedBlock) -> tuple[list[object], list[tuple[int, str, str]]]:
    return block.table.to_pylist(), [(reject.index, reject.code, reject.reason) for reject in block.rejects]


@settings(max_examples=200, deadline=None)
@given(kind=st.sampled_from(TYPES), values=st.lists(JSON_VALUES, min_size=1, max_size=6))
def test_reading_json_in_one_go_and_line_by_line_are_the_same(kind: str, values: list[object]) -> None:
    lines = [json.dumps({"a": value, "n": index, "other": [value]}) for index, value in enumerate(values)]
    assert outcome(parse(kind, lines)) == outcome(parse(kind, lines, piecewise=True))


@pytest.mark.parametrize("kind", TYPES)
def test_tricky_values_are_the_same_quoted_or_not_and_alone_or_together(kind: str) -> None:
    quoted = [json.dumps({"a": text, "n": 0}) for text in TRICKY]
    together = outcome(parse(kind, quoted))
    alone = [outcome(parse(kind, [line])) for line in quoted]
    assert together[0] == [row for rows, _ in alone for row in rows]
    assert [code for _, code, _ in together[1]] == [code for _, rejects in alone for _, code, _ in rejects]
    for text in (text for text in TRICKY if text == text.strip()):
        try:
            number = json.loads(text, parse_constant=lambda name: name)
        except ValueError:
            continue
        if isinstance(number, int | float) and not isinstance(number, bool):
            bare = outcome(parse(kind, [f'{{"a": {text}, "n": 0}}']))
            assert bare[0] == outcome(parse(kind, [json.dumps({"a": text, "n": 0})]))[0], text


@settings(max_examples=200, deadline=None)
@given(st.decimals(allow_nan=False, allow_infinity=False), st.sampled_from([(38, 18), (10, 2), (38, 0), (5, 5)]))
def test_decimals_are_exact_and_round_half_up(number: Decimal, size: tuple[int, int]) -> None:
    kind = pa.decimal128(*size)
    typed, bad = type_text(pa.array([str(number)]), kind)
    wide = Context(prec=5000, Emax=999999, Emin=-999999)
    fits = abs(number.adjusted()) < 2000 or number == 0
    rounded = number.quantize(Decimal(1).scaleb(-size[1]), ROUND_HALF_UP, context=wide) if fits else None
    if number.adjusted() <= -2000:
        rounded = Decimal(0)
    if rounded is None or (rounded and rounded.adjusted() >= size[0] - size[1]):
        assert bad == [0]
    else:
        assert bad == []
        assert typed[0].as_py() == rounded


@pytest.mark.parametrize("number", ["1e30", "1e40", "1e57", "1e59", "1e77", "1e200", "123456789012345678901.5"])
def test_a_number_too_large_for_its_decimal_is_never_wrapped(number: str) -> None:
    block = parse("DECIMAL(38, 18)", [f'{{"a": {number}, "n": 1}}', '{"a": 2.50, "n": 2}'])
    assert [row["n"] for row in block.table.to_pylist()] == [2]
    assert [reject.code for reject in block.rejects] == ["wrong_type"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-05-01T12:00:00+02:00", "2024-05-01T10:00:00+00:00"),
        ("2024-05-01T12:00:00-0530", "2024-05-01T17:30:00+00:00"),
        ("2024-05-01 12:00:00", "2024-05-01T12:00:00+00:00"),
        ("2024-05-01T12:00:00.123987Z", "2024-05-01T12:00:00.123000+00:00"),
        ("1969-12-31T23:59:59.9999Z", "1969-12-31T23:59:59.999000+00:00"),
    ],
)
def test_time_stamps_carry_any_offset_and_none_means_utc(text: str, expected: str) -> None:
    for extra in ([], ["2020-01-01T00:00:00Z"], ["2020-01-01 00:00:00.5", "2020-01-01T00:00:00.123456+01:00"]):
        typed, bad = type_text(pa.array([text, *extra]), arrow_type("TIMESTAMP_LTZ(3)"))
        assert bad == []
        assert typed[0].as_py().isoformat() == expected


CELLS = st.one_of(st.text(alphabet='ab",\n\r é', max_size=6), st.sampled_from(TRICKY))


@settings(max_examples=150, deadline=None)
@given(rows=st.lists(st.tuples(CELLS, st.integers(0, 9)), min_size=1, max_size=6), cut=st.integers(0, 200))
def test_csv_is_read_the_same_in_one_go_record_by_record_and_in_blocks(rows: list[tuple[str, int]], cut: int) -> None:
    schema = RowSchema((Column("a", "STRING"), Column("n", "BIGINT")))
    data = "".join('"' + text.replace('"', '""') + f'",{n}\n' for text, n in rows).encode()
    fast, slow = (CsvRecords(schema, ["a", "n"], ",", 1 << 20) for _ in range(2))
    slow._read_whole = lambda _: None  # type: ignore[method-assign]
    whole = fast.parse(data, final=True)
    assert outcome(whole) == outcome(slow.parse(data, final=True))
    assert [row["a"] for row in whole.table.to_pylist()] == [text or None for text, _ in rows]
    first = fast.parse(data[:cut], final=False)
    rest = fast.parse(data[first.consumed :], final=True)
    assert first.table.to_pylist() + rest.table.to_pylist() == whole.table.to_pylist()


def test_a_stray_quote_costs_one_record_of_csv() -> None:
    parser = CsvRecords(RowSchema((Column("a", "STRING"), Column("n", "BIGINT"))), ["a", "n"], ",", 100)
    data = b'x,1\n"never closed,2\ny,3\n5" pipe,4\n"ok",5\n' + b"z,6\n" * 40
    block = parser.parse(data, final=True)
    assert [row["n"] for row in block.table.to_pylist()] == [1, 3, 4, 5, *[6] * 40]
    assert [(reject.code, int(block.lines[reject.index])) for reject in block.rejects] == [("malformed_csv", 2)]


def test_a_schema_is_inferred_as_narrow_as_the_sample_allows() -> None:
    lines = [
        b'{"i": 1, "d": 1, "t": "2024-01-01T00:00:00Z", "s": "x", "b": true, "l": [1], "o": {"x": 1}, "m": 1, "z": "007"}',
        b'{"i": -2, "d": 0.5, "t": "2024-01-01 00:00:00+01:00", "s": null, "b": false, "l": [], "m": "x", "e": null}',
        b"not json",
    ]
    schema = infer_json(lines)
    assert schema is not None
    assert {column.name: column.type for column in schema.columns} == {
        "i": "BIGINT", "d": "DOUBLE", "t": "TIMESTAMP_LTZ(3)", "s": "STRING", "b": "BOOLEAN", "l": "ARRAY<BIGINT>",
        "o": "STRING", "m": "STRING", "z": "STRING", "e": "STRING",
    }  # fmt: skip
    text = infer_text(["i", "z", "d"], [["1", "007", "1"], ["2", "1", "1e-5"]])
    assert text is not None
    assert [column.type for column in text.columns] == ["BIGINT", "STRING", "DOUBLE"]
