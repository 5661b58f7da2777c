"""The corpus's streams of nasty values: `readings`, `rates` beside it, and two tables to join.

Times lie around both changes of the clock in Central Europe, with ties, NULLs, windows that stay empty, and rows exactly on a
window's border, on the watermark and one millisecond off both.
"""

import random
from collections.abc import Sequence
from functools import cache
from typing import Any, Literal

import pyarrow as pa

from headrace.events.row_batch import RowBatch
from headrace.events.schema import Column, RowSchema
from headrace.streams.stream_engine import QuerySpec, StaticTable, StreamInput

READINGS = RowSchema(
    (
        Column("event_time", "TIMESTAMP_LTZ(3)"), Column("id", "BIGINT"), Column("key", "STRING"), Column("n", "INT"),
        Column("small", "SMALLINT"), Column("big", "BIGINT"), Column("x", "DOUBLE"), Column("amount", "DECIMAL(20, 6)"),
        Column("ok", "BOOLEAN"), Column("day", "DATE"), Column("local", "TIMESTAMP(3)"), Column("at", "TIMESTAMP_LTZ(3)"),
        Column("text", "STRING"),
    )
)  # fmt: skip
RATES = RowSchema(
    (
        Column("event_time", "TIMESTAMP_LTZ(3)"), Column("id", "BIGINT"), Column("key", "STRING"),
        Column("rate", "DECIMAL(12, 4)"), Column("note", "STRING"),
    )
)  # fmt: skip
OUT_OF_ORDER_MS = 10_000
SPRING, AUTUMN = 1_711_846_800_000, 1_729_990_800_000
"""2024-03-31T01:00:00Z and 2024-10-27T01:00:00Z: in Central Europe one hour is skipped then, another comes twice."""
KEYS = ("a", "ä", "a\u0308", "日本", "🙂", "👩‍👩‍👧", "a/b", "\\N", " ", "'", '"', "ß", "A", "", None)
NUMBERS = (None, 0, -1, 1, 2, 7, 10, -13, 2**31 - 1, -(2**31))
BIG_NUMBERS = (None, 0, -1, 2**62, -(2**62), 2**63 - 1, -(2**63), 12_345_678_901, 86_400)
DOUBLES = (None, 0.0, 0.1, -0.1, 0.5, 1.5, 2.5, -2.5, 1e300, -1e300, 1e-300, 123456.789, 1 / 3, 2.0**53, 99.99)
DECIMALS = (None, "0", "0.000001", "-0.000001", "99999999999999.999999", "12.5", "-12.345", "3.141593", "1000")
DAYS = (None, 0, -1, 19_782, 19_813, 11_016, 20_023)
"""1970-01-01, the day before, 2024-02-29, the change to summer time, 2000-02-29, the change back."""
TIMES = (None, 0, -1, SPRING + 3_600_000, SPRING - 1, AUTUMN + 1_800_000, 951_782_400_123, 4_102_444_800_000)
TEXTS = (
    None, "", " ", " x ", "naïve café", "NAÏVE CAFÉ", "👩‍👩‍👧", "e\u0301t\u00e9", "a,b,,c", ",", "abc", "b", "%_", "a.c", "x\\y", "tab\there", "two\nlines",
    '{"k": [1, null, "x"], "a": {"b": true}}', '{"k": 1.50, "a": null}', '["k"]', "null", "{", "1e5", "12.50", "-7", "+3", " 42 ", "0x1F", "2147483648", "true", "NaN",
    "2024-02-30", "2024-02-29", "2024-03-31T02:30:00", "2024-03-31T02:30:00+02:00", "2024-10-27 02:30:00.123", "2024-03-31T00:30:00Z", "12:30",
)  # fmt: skip


def reading_rows(count: int, seed: int) -> list[tuple[Any, ...]]:
    """Rows in order of arrival: half of them in spring, half in autumn."""
    draw = random.Random(seed)
    rows = list[tuple[Any, ...]]()
    for number, moment in enumerate(_moments(draw, count)):
        rows.append(
            (
                moment, number, draw.choice(KEYS), draw.choice(NUMBERS), draw.choice((None, 0, 1, -1, 32_767, -32_768)), draw.choice(BIG_NUMBERS),
                draw.choice(DOUBLES), draw.choice(DECIMALS), draw.choice((None, True, False)), draw.choice(DAYS), draw.choice(TIMES),
                draw.choice(TIMES), TEXTS[number % len(TEXTS)] if draw.random() < 0.7 else draw.choice(TEXTS),
            )
        )  # fmt: skip
    return rows


def _moments(draw: random.Random, count: int) -> list[int]:
    """Event times in order of arrival, ms."""
    moment, latest, found = SPRING - 600_000, SPRING - 600_000, list[int]()
    for number in range(count):
        if number == count // 2:
            moment = AUTUMN - 600_000
        moment += draw.choice((0, 0, 1, 999, 1_000, 7_000, 25_000, 60_000, 1_200_000 if draw.random() < 0.1 else 3))
        if draw.random() < 0.1:
            moment -= moment % -60_000  # the next border of a minute, unless it is one
        level = latest - OUT_OF_ORDER_MS
        border = level - level % 60_000
        on_edges = (level, level - 1, level + 1, border, border - 1, moment - draw.randrange(25_000), moment - 1)
        found.append(draw.choice(on_edges) if draw.random() < 0.3 and number else moment)
        latest = max(latest, found[-1])
    return found


def rate_rows(count: int, seed: int) -> list[tuple[Any, ...]]:
    """Versions for `readings`' keys; every third has the event time of a reading, some share theirs with the one before."""
    draw, readings = random.Random(seed), reading_rows(300, 7)
    moments = sorted(draw.choice(readings)[0] + draw.choice((0, 0, 1, -1, 500, -30_000)) for _ in range(count))
    return [
        (
            moments[place - 1] if place and draw.random() < 0.15 else moments[max(0, place - draw.choice((0, 0, 0, 1, 2, 6)))],
            place, draw.choice(KEYS), draw.choice((None, "0.0000", "1.2500", "-3.5000", "99999999.9999")), draw.choice(("first", None, "zwölf", "🙂")),
        )
        for place in range(count)
    ]  # fmt: skip


def row_batch(schema: RowSchema, rows: Sequence[tuple[Any, ...]], prefix: str) -> RowBatch:
    """Rows as `connector.events` holds them; event time in the first value, id in the second, the record's key in the third."""
    arrow = schema.to_arrow()
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(arrow)
    arrays = [_array(kind, values) for kind, values in zip(arrow.types, columns, strict=True)]
    times = [row[0] for row in rows]
    return RowBatch(
        pa.table(arrays, schema=arrow), schema, pa.array([f"{prefix}{row[1]}" for row in rows], pa.string()),
        pa.array([str(row[2] or "") for row in rows], pa.string()), pa.array(times, pa.int64()),
        pa.array([time + 500 for time in times], pa.int64()), pa.array(["{}"] * len(rows), pa.string()),
        pa.array(range(len(rows)), pa.int64()),
    )  # fmt: skip


def _array(kind: pa.DataType, values: Sequence[Any]) -> pa.Array:
    """Times are given as ms, days as their number, decimals as text."""
    if pa.types.is_timestamp(kind):
        return pa.array(values, pa.int64()).cast(kind)
    if pa.types.is_date(kind):
        return pa.array(values, pa.int32()).cast(kind)
    if pa.types.is_decimal(kind):
        return pa.array(values, pa.string()).cast(kind)
    return pa.array(values, kind)


@cache
def reading_batches() -> dict[str, RowBatch]:
    """`readings` and `rates`."""
    return {
        "readings": row_batch(READINGS, reading_rows(300, 7), "r"),
        "rates": row_batch(RATES, rate_rows(120, 8), "v"),
    }


@cache
def reading_tables() -> tuple[StaticTable, ...]:
    """`places` (code → place) and `tariffs` (code → tariff, in versions)."""
    known = [key for key in KEYS if key not in (None, "ß", "")]
    places = pa.table(
        {"code": known, "place": [f"{key}-stadt" for key in known], "level": pa.array(range(len(known)), pa.int32())}
    )
    since = [SPRING - 3_600_000, SPRING, SPRING + 1, SPRING + 300_000, AUTUMN - 3_600_000, AUTUMN, -1]
    versions = [(key, place, moment) for key in ("a", "ä", "🙂", " ", "A") for place, moment in enumerate(since)]
    tariffs = pa.table(
        {
            "code": [key for key, _, _ in versions],
            "tariff": _array(pa.decimal128(8, 2), [None if place == 3 else f"{place}.50" for _, place, _ in versions]),
            "since": _array(pa.timestamp("ms", tz="UTC"), [moment for _, _, moment in versions]),
        }
    )
    return (
        StaticTable("places", places, key=("code",)),
        StaticTable("tariffs", tariffs, valid_from="since", key=("code",)),
    )


def reading_spec(sql: str, timeline: Literal["arrival", "event"] = "arrival") -> QuerySpec:
    """A query over these streams and tables."""
    inputs = [
        StreamInput("readings", READINGS, "default.readings.events", "event_time", OUT_OF_ORDER_MS),
        StreamInput("rates", RATES, "default.rates.events", "event_time", 5_000),
    ]
    return QuerySpec(sql, inputs, reading_tables(), timeline)
