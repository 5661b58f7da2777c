"""The queries that both engines run, each with its inputs: those of the engines' conformance suite, and others over a stream of nasty values."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from headrace.events.row_batch import RowBatch
from headrace.events.schema import Column, RowSchema
from headrace.streams.stream_engine import QuerySpec, StreamInput
from headrace.testing.engine_conformance import CASES, case_spec, corpus_batches, static_tables

READINGS = RowSchema(
    (
        Column("event_time", "TIMESTAMP_LTZ(3)"), Column("id", "BIGINT"), Column("key", "STRING"), Column("n", "INT"),
        Column("big", "BIGINT"), Column("amount", "DECIMAL(20, 6)"), Column("ok", "BOOLEAN"), Column("day", "DATE"),
        Column("local", "TIMESTAMP(3)"), Column("text", "STRING"),
    )
)  # fmt: skip
SPRING = 1_711_846_800_000
"""2024-03-31T01:00:00Z: the hour that Central Europe skips."""
_KEYS = ("a", "ä", "a\u0308", "日本", "🙂", "a/b", "\\N", " ", "'", '"', "ß", "A", None)
_TEXTS = (
    "",
    " x ",
    "naïve café",
    "👩‍👩‍👧",
    "a,b,,c",
    '{"k": [1, null]}',
    "1e5",
    "12.50",
    "-7",
    "2024-02-30",
    None,
    "tab\there",
    "%_",
)


@dataclass(frozen=True, slots=True)
class CorpusQuery:
    """A query, the rows of its inputs in order of arrival, and what it shows."""

    name: str
    feature: str
    """For the table of what is supported."""
    spec: QuerySpec
    batches: Mapping[str, RowBatch]


def reading_rows(count: int, seed: int, *, disorder_ms: int = 15_000) -> list[tuple[Any, ...]]:
    """Rows around the change to summer time, shuffled by up to `disorder_ms`, with NULLs, ties and windows that stay empty."""
    draw = random.Random(seed)
    moment, rows = SPRING - 600_000, list[tuple[Any, ...]]()
    for number in range(count):
        moment += draw.choice((0, 0, 1, 999, 1_000, 7_000, 60_000, 60_000, 1_200_000 if number % 37 == 0 else 3))
        arrived = moment - draw.randrange(disorder_ms) if draw.random() < 0.3 else moment
        rows.append(
            (
                arrived, number, draw.choice(_KEYS), draw.choice((None, 0, -1, 1, 7, 2**31 - 1, -(2**31))),
                draw.choice((None, 0, 2**62, -(2**62), 12345678901)),
                draw.choice((None, "0", "-0.000001", "99999999999999.999999", "12.5", "3.141593")), draw.choice((None, True, False)),
                draw.choice((None, 0, 19_783, 19_813, -1)), draw.choice((None, SPRING + 3_600_000, 951_782_400_000, -1)),
                draw.choice(_TEXTS),
            )
        )  # fmt: skip
    return rows


def reading_batch(rows: Sequence[tuple[Any, ...]]) -> RowBatch:
    """Rows as `connector.events` holds them."""
    schema = READINGS.to_arrow()
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(schema)
    arrays: list[pa.Array] = []
    for kind, values in zip(schema.types, columns, strict=True):
        raw = pa.array(values, pa.string() if pa.types.is_decimal(kind) or pa.types.is_string(kind) else None)
        if pa.types.is_timestamp(kind):
            raw = pa.array(values, pa.int64())
        elif pa.types.is_date(kind):
            raw = pa.array(values, pa.int32())
        arrays.append(raw.cast(kind))
    times = pa.array([row[0] for row in rows], pa.int64())
    return RowBatch(
        pa.table(arrays, schema=schema), READINGS, pa.array([f"r{row[1]}" for row in rows], pa.string()),
        pa.array([row[2] or "" for row in rows], pa.string()), times, pa.array([row[0] + 500 for row in rows], pa.int64()),
        pa.array(["{}"] * len(rows), pa.string()), pa.array(range(len(rows)), pa.int64()),
    )  # fmt: skip


def reading_spec(sql: str, timeline: Literal["arrival", "event"] = "arrival") -> QuerySpec:
    """A query over `readings` (out of order by up to 10 s) and the static tables of the conformance suite."""
    stream = StreamInput("readings", READINGS, "default.readings.events", "event_time", 10_000)
    return QuerySpec(sql, [stream], static_tables(), timeline)


def _window(function: str, *intervals: str, partition: str = "") -> str:
    lengths = ", ".join(f"INTERVAL '{one.split()[0]}' {one.split()[1]}" for one in intervals)
    return f"TABLE({function}(TABLE readings {partition}, DESCRIPTOR(event_time), {lengths}))"


_MINUTE = _window("TUMBLE", "1 MINUTE")
_BY = "GROUP BY window_start, window_end"
_FIVE = f"SELECT window_start, window_end, COUNT(*) AS c, COUNT(n) AS m, SUM(amount) AS s, MIN(text) AS lo, MAX(text) AS hi FROM {{}} {_BY}"
READING_QUERIES: tuple[tuple[str, str, str], ...] = (
    ("every column as it came", "stateless", "SELECT * FROM readings"),
    ("a filter on NULLs", "stateless", "SELECT id, n IS NULL AS gone, ok IS NOT TRUE AS no FROM readings WHERE n IS NULL OR ok" if False else "SELECT id, n IS NULL AS gone FROM readings WHERE n IS NULL OR ok"),
    ("integers that overflow are NULL", "stateless", "SELECT id, n + 1 AS a, n * n AS b, big + big AS c, -n AS d FROM readings"),
    ("decimals keep their digits", "stateless", "SELECT id, amount * 2 AS a, amount + 1 AS b, amount / 3 AS c, CAST(amount AS STRING) AS d, ROUND(amount, 2) AS e FROM readings"),
    ("text that may be a number", "stateless", "SELECT id, CAST(text AS INT) AS a, CAST(text AS DOUBLE) AS b, CAST(text AS DECIMAL(10, 2)) AS c, CAST(text AS DATE) AS d FROM readings"),
    ("letters beyond ASCII", "stateless", "SELECT id, CHAR_LENGTH(key) AS a, UPPER(text) AS b, SUBSTRING(text, 2, 3) AS c, key || '·' || text AS d FROM readings"),
    ("patterns", "stateless", "SELECT id, text LIKE '%é' AS a, text LIKE '_x_' AS b, REGEXP(text, '^[0-9.]+$') AS c, REPLACE(text, ',', ';') AS d FROM readings"),
    ("parts of a time across the change to summer time", "stateless", "SELECT id, HOUR(event_time) AS h, MINUTE(event_time) AS m, DAYOFWEEK(event_time) AS w, event_time + INTERVAL '1' HOUR AS later FROM readings"),
    ("times without a zone", "stateless", "SELECT id, local, YEAR(local) AS y, local + INTERVAL '1' DAY AS t, day FROM readings"),
    ("JSON in a column", "stateless", "SELECT id, JSON_VALUE(text, '$.k[0]') AS a, JSON_EXISTS(text, '$.k') AS b FROM readings"),
    ("choices between NULLs", "stateless", "SELECT id, COALESCE(text, key, 'none') AS a, NULLIF(n, 0) AS b, GREATEST(n, 1) AS c, CASE WHEN n > 0 THEN 'up' WHEN n < 0 THEN 'down' END AS d FROM readings"),
    ("the stream's own time", "stateless", "SELECT id, now() AS t FROM readings WHERE event_time <= now()"),
    ("minutes", "TUMBLE", _FIVE.format(_MINUTE)),
    ("one second", "TUMBLE", _FIVE.format(_window("TUMBLE", "1 SECOND"))),
    ("minutes of every key, NULL among them", "TUMBLE", f"SELECT window_start, key, COUNT(*) AS c, COUNT(DISTINCT n) AS d FROM {_MINUTE} {_BY}, key"),
    ("minutes by a number and a flag", "TUMBLE", f"SELECT window_end, n, ok, COUNT(*) AS c FROM {_MINUTE} {_BY}, n, ok"),
    ("minutes by a decimal and a day", "TUMBLE", f"SELECT window_end, amount, day, COUNT(*) AS c FROM {_MINUTE} {_BY}, amount, day"),
    ("first and last by event time", "TUMBLE", f"SELECT window_start, key, FIRST_VALUE(id) AS f, LAST_VALUE(id) AS l, FIRST_VALUE(amount) AS fa, LAST_VALUE(text) AS lt FROM {_MINUTE} {_BY}, key"),
    ("sums and means of integers and decimals", "TUMBLE", f"SELECT window_start, SUM(n) AS a, AVG(n) AS b, SUM(amount) AS c, MIN(amount) AS d, MAX(big) AS e FROM {_window('TUMBLE', '10 MINUTE')} {_BY}"),
    ("counts under a condition", "TUMBLE", f"SELECT window_start, COUNT(*) FILTER (WHERE ok) AS a, SUM(n) FILTER (WHERE n > 0 AND n < 10) AS b FROM {_MINUTE} {_BY} HAVING COUNT(*) > 1"),
    ("days", "TUMBLE", _FIVE.format(_window("TUMBLE", "1 DAY"))),
    ("hours with an offset", "TUMBLE", _FIVE.format(_window("TUMBLE", "1 HOUR", "7 MINUTE"))),
    ("hops", "HOP", _FIVE.format(_window("HOP", "30 SECOND", "2 MINUTE"))),
    ("hops of every key", "HOP", f"SELECT window_start, window_end, key, COUNT(*) AS c FROM {_window('HOP', '1 MINUTE', '5 MINUTE')} {_BY}, key"),
    ("many hops", "HOP", f"SELECT window_start, window_end, COUNT(*) AS c, SUM(n) AS s FROM {_window('HOP', '10 SECOND', '10 MINUTE')} {_BY}"),
    ("cumulating quarters", "CUMULATE", _FIVE.format(_window("CUMULATE", "5 MINUTE", "15 MINUTE"))),
    ("cumulating, of every key", "CUMULATE", f"SELECT window_start, window_end, key, COUNT(*) AS c FROM {_window('CUMULATE', '1 MINUTE', '10 MINUTE')} {_BY}, key"),
    ("sessions", "SESSION", f"SELECT window_start, window_end, COUNT(*) AS c FROM {_window('SESSION', '45 SECOND')} {_BY}"),
    ("sessions of every key", "SESSION", f"SELECT window_start, window_end, key, COUNT(*) AS c, MIN(id) AS f FROM {_window('SESSION', '90 SECOND', partition='PARTITION BY key')} {_BY}, key"),
    ("the newest of each key and minute", "de-duplication", f"SELECT window_start, key, id FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end, key ORDER BY event_time DESC, id DESC) AS r FROM {_MINUTE}) WHERE r = 1"),
    ("the first of each text and hour", "de-duplication", f"SELECT window_end, text, id FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end, text ORDER BY id) AS r FROM {_window('TUMBLE', '1 HOUR')}) WHERE r = 1"),
    ("the three largest of each ten minutes", "top-N", f"SELECT window_start, r, id, amount FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY amount DESC, id) AS r FROM {_window('TUMBLE', '10 MINUTE')}) WHERE r <= 3"),
    ("the busiest keys of each hour", "top-N", f"SELECT window_start, r, key, c FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY c DESC, key) AS r FROM (SELECT window_start, window_end, key, COUNT(*) AS c FROM {_window('TUMBLE', '1 HOUR')} {_BY}, key)) WHERE r <= 2"),
    ("minutes within hours", "windows over windows", f"WITH m AS (SELECT window_time, key, COUNT(*) AS c FROM {_MINUTE} {_BY}, window_time, key) SELECT window_start, window_end, SUM(c) AS c, COUNT(*) AS k FROM TABLE(TUMBLE(TABLE m, DESCRIPTOR(window_time), INTERVAL '1' HOUR)) {_BY}"),
    ("a static table beside each row", "join with a table", "SELECT id, n.name FROM readings AS t LEFT JOIN names AS n ON t.key = n.symbol"),
    ("the version of a table as of the row's time", "join with a table", "SELECT id, fee FROM readings AS t JOIN fees FOR SYSTEM_TIME AS OF t.event_time AS f ON t.key = f.symbol"),
)  # fmt: skip


def corpus() -> list[CorpusQuery]:
    """All of it."""
    batches = corpus_batches()
    found = [CorpusQuery(case.name, "conformance", case_spec(case.sql, case.timeline), batches) for case in CASES]
    readings = {"readings": reading_batch(reading_rows(400, 7))}
    for name, feature, sql in READING_QUERIES:
        timeline: Literal["arrival", "event"] = "event" if "now()" in sql else "arrival"
        found.append(CorpusQuery(name, feature, reading_spec(sql, timeline), readings))
    return found
