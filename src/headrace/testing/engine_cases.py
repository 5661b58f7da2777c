"""Queries that every stream engine answers, with their inputs and the rows that must come out, and queries that it refuses."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from headrace.events.row_batch import RowBatch
from headrace.events.schema import Column, RowSchema
from headrace.streams.stream_engine import (
    QuerySpec,
    StaticTable,
    StreamInput,
)

START_MS = 1_704_067_200_000
"""2024-01-01T00:00:00Z; times of cases are seconds after it."""
TRADES = RowSchema(
    (
        Column("event_time", "TIMESTAMP_LTZ(3)"), Column("id", "BIGINT"), Column("symbol", "STRING"),
        Column("price", "DOUBLE"), Column("qty", "INT"), Column("amount", "DECIMAL(10, 2)"),
    )
)  # fmt: skip
QUOTES = RowSchema((Column("event_time", "TIMESTAMP_LTZ(3)"), Column("symbol", "STRING"), Column("bid", "DOUBLE")))
ONE = RowSchema(
    (
        Column("event_time", "TIMESTAMP_LTZ(3)"), Column("i", "INT"), Column("zero", "INT"), Column("big", "BIGINT"),
        Column("d", "DOUBLE"), Column("m", "DECIMAL(10, 2)"), Column("s", "STRING"), Column("js", "STRING"),
        Column("flag", "BOOLEAN"), Column("nothing", "STRING"), Column("day", "DATE"), Column("odd name", "STRING"),
    )
)  # fmt: skip
TRADE_ROWS: tuple[tuple[Any, ...], ...] = (
    (1, 1, "A", 10.0, 1, "1.50"),
    (5, 2, "B", 20.0, 2, "2.00"),
    (30, 3, "A", 12.0, 3, "0.50"),
    (25, 4, "A", 11.0, 4, "1.00"),
    (61, 5, "B", 21.0, 5, "4.00"),
    (90, 6, "A", 9.0, 6, "2.25"),
    (70, 7, "B", 19.0, 7, "1.00"),
    (130, 8, "A", 13.0, 8, "3.00"),
    (50, 9, "A", 99.0, 9, "9.00"),
    (185, 10, "B", 22.0, 10, "1.00"),
)
"""Row 4 is 5 s behind, row 7 20 s but in time for its minute, row 9 later than its minute; outOfOrderness is 10 s."""
QUOTE_ROWS: tuple[tuple[Any, ...], ...] = (
    (0, "A", 9.5),
    (3, "B", 19.5),
    (20, "A", 10.5),
    (65, "B", 20.5),
    (190, "A", 12.5),
)
ONE_ROW: tuple[tuple[Any, ...], ...] = (
    (3_723, 7, 0, 9_000_000_000_000_000_000, 2.5, "12.34", " Ab-cd ", '{"a": {"b": "x"}, "n": 5, "l": [1]}', True, None, 19_723, "q"),
)  # fmt: skip
STREAMS: dict[str, tuple[RowSchema, Sequence[tuple[Any, ...]]]] = {
    "trades": (TRADES, TRADE_ROWS),
    "quotes": (QUOTES, QUOTE_ROWS),
    "source_stream": (ONE, ONE_ROW),
}


def seconds(moment: float) -> str:
    """The canonical text of a time so many seconds after the start."""
    minutes, rest = divmod(moment, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"2024-01-01T{hours:02d}:{minutes:02d}:{rest:06.3f}Z"


@dataclass(frozen=True, slots=True)
class Case:
    """A query over the streams above, and all that must come out."""

    name: str
    sql: str
    rows: Sequence[Mapping[str, Any]]
    """In order, as canonical JSON has them: NULL columns are left out."""
    late: tuple[int, ...] = ()
    """Places of late rows in `trades`, once the whole of it went in."""
    timeline: Literal["arrival", "event"] = "arrival"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A query that must be refused, the place that must be named, and words that the message must hold."""

    name: str
    sql: str
    where: str
    words: tuple[str, ...]


def static_tables() -> list[StaticTable]:
    """`names` (symbol → name) and `fees` (symbol → fee, in versions)."""
    names = pa.table({"symbol": ["A", "C"], "name": ["Alpha", "Gamma"]})
    since = pa.array([START_MS, START_MS + 60_000, START_MS], pa.int64()).cast(pa.timestamp("ms", tz="UTC"))
    fees = pa.table({"symbol": ["A", "A", "B"], "fee": pa.array([1, 2, 5], pa.int32()), "since": since})
    return [StaticTable("names", names), StaticTable("fees", fees, valid_from="since", key=("symbol",))]


def make_batch(name: str, schema: RowSchema, rows: Sequence[tuple[Any, ...]]) -> RowBatch:
    """Rows whose first value is the event time in seconds after the start; they arrive 1 s after it."""
    times = [START_MS + round(row[0] * 1000) for row in rows]
    types = schema.to_arrow().types
    columns = [pa.array(times, pa.int64()).cast(types[0])]
    for place, kind in enumerate(types[1:], start=1):
        values = pa.array([row[place] for row in rows], pa.string() if pa.types.is_decimal(kind) else None)
        columns.append((values if not pa.types.is_date(kind) else values.cast(pa.int32())).cast(kind))
    count = len(rows)
    return RowBatch(
        pa.table(columns, schema=schema.to_arrow()), schema,
        pa.array([f"{name}:{place}" for place in range(count)], pa.string()), pa.array([""] * count, pa.string()),
        pa.array(times, pa.int64()), pa.array([one + 1000 for one in times], pa.int64()),
        pa.array(["{}"] * count, pa.string()), pa.array(range(count), pa.int64()),
    )  # fmt: skip


def case_spec(sql: str, timeline: Literal["arrival", "event"] = "arrival") -> QuerySpec:
    """The query over the corpus's streams and tables."""
    inputs = [
        StreamInput(name, schema, f"default.{name}.events", "event_time", 10_000)
        for name, (schema, _) in STREAMS.items()
    ]
    return QuerySpec(sql, inputs, static_tables(), timeline)


def corpus_batches() -> dict[str, RowBatch]:
    """The corpus's rows."""
    return {name: make_batch(name, schema, rows) for name, (schema, rows) in STREAMS.items()}


def _tvf(function: str, *intervals: str, table: str = "trades") -> str:
    lengths = ", ".join(f"INTERVAL '{one.split()[0]}' {one.split()[1]}" for one in intervals)
    return f"TABLE({function}(TABLE {table}, DESCRIPTOR(event_time), {lengths}))"


_MINUTE = _tvf("TUMBLE", "1 MINUTE")
_BY = "GROUP BY window_start, window_end"


def _bar(start: float, symbol: str, **values: object) -> dict[str, object]:
    return {"window_start": seconds(start), "symbol": symbol, **values}


def _windows(*rows: tuple[float, float, int]) -> list[dict[str, object]]:
    return [{"window_start": seconds(start), "window_end": seconds(end), "n": count} for start, end, count in rows]


WINDOW_CASES = (
    Case(
        "a tumbling window gives open, high, low, close and volume once, at close",
        f"SELECT window_start, symbol, FIRST_VALUE(price) AS o, MAX(price) AS h, MIN(price) AS l, LAST_VALUE(price) AS c, "
        f"SUM(amount) AS v, COUNT(*) AS n FROM {_MINUTE} {_BY}, symbol",
        [
            _bar(0, "A", o=10.0, h=12.0, l=10.0, c=12.0, v="3", n=3),
            _bar(0, "B", o=20.0, h=20.0, l=20.0, c=20.0, v="2", n=1),
            _bar(60, "A", o=9.0, h=9.0, l=9.0, c=9.0, v="2.25", n=1),
            _bar(60, "B", o=21.0, h=21.0, l=19.0, c=19.0, v="5", n=2),
            _bar(120, "A", o=13.0, h=13.0, l=13.0, c=13.0, v="3", n=1),
            _bar(180, "B", o=22.0, h=22.0, l=22.0, c=22.0, v="1", n=1),
        ],
        late=(8,),
    ),
    Case(
        "named arguments and a trailing semicolon are accepted",
        f"SELECT window_start, window_end, COUNT(*) AS n FROM TABLE(TUMBLE(DATA => TABLE trades, "
        f"TIMECOL => DESCRIPTOR(event_time), SIZE => interval '1 minute')) {_BY};",
        _windows((0, 60, 4), (60, 120, 3), (120, 180, 1), (180, 240, 1)),
        late=(8,),
    ),
    Case(
        "an offset moves the windows",
        f"SELECT window_start, window_end, COUNT(*) AS n FROM {_tvf('TUMBLE', '1 MINUTE', '20 SECOND')} {_BY}",
        [
            {"window_start": "2023-12-31T23:59:20.000Z", "window_end": seconds(20), "n": 2},
            *_windows((20, 80, 3), (80, 140, 2), (140, 200, 1)),
        ],
        late=(6, 8),
    ),
    Case(
        "a hopping window counts a row in each of its windows, and a late row in those still open",
        f"SELECT window_start, window_end, COUNT(*) AS n FROM {_tvf('HOP', '1 MINUTE', '2 MINUTE')} {_BY}",
        [
            {"window_start": "2023-12-31T23:59:00.000Z", "window_end": seconds(60), "n": 4},
            *_windows((0, 120, 7), (60, 180, 4), (120, 240, 2), (180, 300, 1)),
        ],
        late=(8,),
    ),
    Case(
        "a cumulating window grows step by step",
        f"SELECT window_start, window_end, COUNT(*) AS n FROM {_tvf('CUMULATE', '1 MINUTE', '3 MINUTE')} {_BY}",
        _windows((0, 60, 4), (0, 120, 7), (0, 180, 9), (180, 240, 1), (180, 300, 1), (180, 360, 1)),
    ),
    Case(
        "many hops over one another come out of panes",
        f"SELECT window_start, window_end, COUNT(*) AS n, SUM(price) AS s, FIRST_VALUE(price) AS o, LAST_VALUE(price) AS c, "
        f"AVG(qty) AS a FROM {_tvf('HOP', '10 SECOND', '100 SECOND')} WHERE symbol = 'B' {_BY} HAVING COUNT(*) > 2",
        [
            {"window_start": start, "window_end": end, "n": 3, "s": 60.0, "o": 20.0, "c": 19.0, "a": 14 / 3}
            for start, end in (("2023-12-31T23:59:50.000Z", seconds(90)), (seconds(0), seconds(100)))
        ],
    ),
    Case(
        "a session ends after its gap, per key",
        f"SELECT window_start, window_end, symbol, COUNT(*) AS n FROM TABLE(SESSION(TABLE trades PARTITION BY symbol, "
        f"DESCRIPTOR(event_time), INTERVAL '30' SECOND)) {_BY}, symbol",
        [
            _bar(5, "B", window_end=seconds(35), n=1), _bar(1, "A", window_end=seconds(60), n=3),
            _bar(61, "B", window_end=seconds(100), n=2), _bar(90, "A", window_end=seconds(120), n=1),
            _bar(130, "A", window_end=seconds(160), n=1), _bar(185, "B", window_end=seconds(215), n=1),
        ],
        late=(8,),
    ),
    Case(
        "a session without keys takes all rows together",
        f"SELECT window_start, window_end, COUNT(*) AS n FROM TABLE(SESSION(TABLE trades, DESCRIPTOR(event_time), "
        f"INTERVAL '25' SECOND)) {_BY}",
        _windows((1, 55, 4), (61, 115, 3), (130, 155, 1), (185, 210, 1)),
        late=(8,),
    ),
    Case(
        "a WHERE does not move a session's borders",
        f"SELECT window_start, window_end, COUNT(*) AS n FROM TABLE(SESSION(TABLE trades, DESCRIPTOR(event_time), "
        f"INTERVAL '25' SECOND)) WHERE symbol = 'A' {_BY}",
        _windows((1, 55, 3), (61, 115, 1), (130, 155, 1)),
        late=(8,),
    ),
    Case(
        "a WHERE on the keys of a session does not change the others",
        f"SELECT window_start, window_end, COUNT(*) AS n FROM TABLE(SESSION(TABLE trades PARTITION BY symbol, "
        f"DESCRIPTOR(event_time), INTERVAL '30' SECOND)) WHERE symbol = 'B' {_BY}, symbol",
        _windows((5, 35, 1), (61, 100, 2), (185, 215, 1)),
    ),
    Case(
        "an expression stands around aggregates, HAVING after them",
        f"SELECT symbol, SUM(price) / COUNT(*) AS mean, CASE WHEN COUNT(*) > 1 THEN 'many' ELSE 'one' END AS size "
        f"FROM {_MINUTE} {_BY}, symbol HAVING SUM(qty) > 5",
        [
            {"symbol": "A", "mean": 11.0, "size": "many"}, {"symbol": "A", "mean": 9.0, "size": "one"},
            {"symbol": "B", "mean": 20.0, "size": "many"}, {"symbol": "A", "mean": 13.0, "size": "one"},
            {"symbol": "B", "mean": 22.0, "size": "one"},
        ],
        late=(8,),
    ),
    Case(
        "a WHERE before the window drops late rows that it would not have taken",
        f"SELECT window_start, window_end, COUNT(*) AS n FROM {_MINUTE} WHERE symbol = 'B' {_BY}",
        _windows((0, 60, 1), (60, 120, 2), (180, 240, 1)),
    ),
    Case(
        "a WHERE may read the window's borders",
        f"SELECT window_start, window_end, COUNT(*) AS n FROM {_MINUTE} WHERE window_start >= '2024-01-01 00:01:00' {_BY}",
        _windows((60, 120, 3), (120, 180, 1), (180, 240, 1)),
        late=(8,),
    ),
    Case(
        "a WITH query cleans rows before the window",
        f"WITH clean AS (SELECT event_time AS ts, LOWER(symbol) AS sym, price FROM trades WHERE price < 50) "
        f"SELECT window_start, window_end, COUNT(*) AS n, MAX(sym) AS last FROM TABLE(TUMBLE(TABLE clean, DESCRIPTOR(ts), "
        f"INTERVAL '2' MINUTE)) {_BY}",
        [{**_windows((0, 120, 7))[0], "last": "b"}, {**_windows((120, 240, 2))[0], "last": "b"}],
    ),
    Case(
        "COUNT(DISTINCT), FILTER, LISTAGG and PERCENTILE of a window",
        f"SELECT COUNT(DISTINCT symbol) AS d, COUNT(*) FILTER (WHERE price > 10) AS f, LISTAGG(symbol) AS l, "
        f"PERCENTILE(price, 0.5) AS p FROM {_tvf('TUMBLE', '1 HOUR')} {_BY}",
        [{"d": 2, "f": 8, "l": "A,B,A,A,A,B,B,A,A,B", "p": 16.0}],
    ),
    Case(
        "variance and deviation of a window",
        f"SELECT VAR_POP(qty) AS v, STDDEV_POP(qty) AS s, VAR_SAMP(qty) AS w, STDDEV_SAMP(price - price) AS z "
        f"FROM {_tvf('TUMBLE', '1 HOUR')} {_BY}",
        [{"v": 8.25, "s": 8.25**0.5, "w": 82.5 / 9, "z": 0.0}],
    ),
    Case(
        "the average of integers is DOUBLE, of DECIMAL too; the sum of integers BIGINT",
        f"SELECT AVG(qty) AS a, AVG(amount) AS m, SUM(qty) AS s, SUM(amount) AS t FROM {_tvf('TUMBLE', '1 HOUR')} {_BY}",
        [{"a": 5.5, "m": 2.525, "s": 55, "t": "25.25"}],
    ),
    Case(
        "aggregates pass NULLs over",
        f"SELECT COUNT(NULLIF(qty, 1)) AS n, FIRST_VALUE(NULLIF(qty, 1)) AS f, SUM(NULLIF(NULLIF(qty, 1), 10)) AS s "
        f"FROM {_tvf('TUMBLE', '1 HOUR')} {_BY}",
        [{"n": 9, "f": 2, "s": 44}],
    ),
    Case(
        "grouping by an expression",
        f"SELECT window_end, qty > 4 AS big, COUNT(*) AS n FROM {_tvf('TUMBLE', '1 HOUR')} {_BY}, qty > 4",
        [{"window_end": seconds(3600), "big": False, "n": 4}, {"window_end": seconds(3600), "big": True, "n": 6}],
    ),
    Case(
        "the first row per key and window (de-duplication)",
        f"SELECT symbol, id FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end, symbol "
        f"ORDER BY event_time) AS rn FROM {_MINUTE}) WHERE rn = 1",
        [{"symbol": "A", "id": 1}, {"symbol": "B", "id": 2}, {"symbol": "A", "id": 6}, {"symbol": "B", "id": 5},
         {"symbol": "A", "id": 8}, {"symbol": "B", "id": 10}],
        late=(8,),
    ),
    Case(
        "the last row per key and window",
        f"SELECT symbol, id FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end, symbol "
        f"ORDER BY event_time DESC) AS rn FROM {_tvf('TUMBLE', '1 HOUR')}) WHERE rn <= 1",
        [{"symbol": "A", "id": 8}, {"symbol": "B", "id": 10}],
    ),
    Case(
        "the best two of a window, with their rank",
        f"SELECT rn, id, price FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY price DESC) "
        f"AS rn FROM {_tvf('TUMBLE', '2 MINUTE')}) WHERE rn < 3",
        [{"rn": 1, "id": 5, "price": 21.0}, {"rn": 2, "id": 2, "price": 20.0}, {"rn": 1, "id": 10, "price": 22.0},
         {"rn": 2, "id": 8, "price": 13.0}],
        late=(8,),
    ),
    Case(
        "ties keep the order of event time and input",
        f"SELECT id FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY 1 = 1) AS rn "
        f"FROM {_tvf('TUMBLE', '1 HOUR')}) WHERE rn <= 4",
        [{"id": 1}, {"id": 2}, {"id": 4}, {"id": 3}],
    ),
    Case(
        "the best key of a window, ranked over its aggregates",
        f"SELECT window_start, symbol, v FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY v "
        f"DESC) AS rn FROM (SELECT window_start, window_end, symbol, SUM(amount) AS v FROM {_MINUTE} {_BY}, symbol)) WHERE rn = 1",
        [_bar(0, "A", v="3"), _bar(60, "B", v="5"), _bar(120, "A", v="3"), _bar(180, "B", v="1")],
        late=(8,),
    ),
    Case(
        "windows over windows",
        f"WITH bars AS (SELECT window_time, symbol, SUM(qty) AS q FROM {_MINUTE} {_BY}, window_time, symbol) "
        f"SELECT window_start, window_end, SUM(q) AS q, COUNT(*) AS n FROM TABLE(TUMBLE(TABLE bars, DESCRIPTOR(window_time), "
        f"INTERVAL '2' MINUTE)) {_BY}",
        [{**_windows((0, 120, 4))[0], "q": 28}, {**_windows((120, 240, 2))[0], "q": 18}],
        late=(8,),
    ),
    Case(
        "de-duplicated rows are aggregated in their window",
        f"SELECT window_start, window_end, COUNT(*) AS n FROM (SELECT * FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY "
        f"window_start, window_end, symbol ORDER BY event_time) AS rn FROM {_MINUTE}) WHERE rn = 1) {_BY}",
        _windows((0, 60, 2), (60, 120, 2), (120, 180, 1), (180, 240, 1)),
        late=(8,),
    ),
    Case(
        "each key and window once, without aggregates",
        f"SELECT symbol FROM {_tvf('TUMBLE', '1 HOUR')} {_BY}, symbol",
        [{"symbol": "A"}, {"symbol": "B"}],
    ),
)  # fmt: skip

ROW_CASES = (
    Case(
        "every column of every row, in order",
        "SELECT * FROM trades WHERE id <= 2",
        [
            {"event_time": seconds(1), "id": 1, "symbol": "A", "price": 10.0, "qty": 1, "amount": "1.5"},
            {"event_time": seconds(5), "id": 2, "symbol": "B", "price": 20.0, "qty": 2, "amount": "2"},
        ],
    ),
    Case("an alias of the input and of columns", "SELECT t.id AS `the id` FROM trades AS t WHERE t.symbol = 'B' AND t.id > 5", [{"the id": 7}, {"the id": 10}]),
    Case("a subquery", "SELECT x + 1 AS y FROM (SELECT id * 2 AS x FROM trades) WHERE x > 18", [{"y": 21}]),
    Case("now() is when the row came in", "SELECT id FROM trades WHERE now() = event_time + INTERVAL '1' SECOND AND id = 9", [{"id": 9}]),
    Case(
        "now() is the stream's time where history is replayed",
        "SELECT id, now() AS n FROM trades WHERE event_time < now() - interval '10 second'",
        [{"id": 7, "n": seconds(90)}, {"id": 9, "n": seconds(130)}],
        timeline="event",
    ),
    Case(
        "a join with a static table",
        "SELECT id, name FROM trades AS t JOIN names AS n ON t.symbol = n.symbol WHERE id < 4",
        [{"id": 1, "name": "Alpha"}, {"id": 3, "name": "Alpha"}],
    ),
    Case(
        "a left join with a static table",
        "SELECT id, n.name FROM trades AS t LEFT JOIN names AS n ON t.symbol = n.symbol WHERE id < 4",
        [{"id": 1, "name": "Alpha"}, {"id": 2}, {"id": 3, "name": "Alpha"}],
    ),
    Case(
        "a table with versions is joined as of the row's event time",
        "SELECT id, fee FROM trades AS t JOIN fees FOR SYSTEM_TIME AS OF t.event_time AS f ON t.symbol = f.symbol WHERE t.symbol = 'A'",
        [{"id": 1, "fee": 1}, {"id": 3, "fee": 1}, {"id": 4, "fee": 1}, {"id": 6, "fee": 2}, {"id": 8, "fee": 2}, {"id": 9, "fee": 1}],
    ),
    Case(
        "a join with another stream as of the row's event time",
        "SELECT id, bid FROM trades AS t JOIN quotes FOR SYSTEM_TIME AS OF t.event_time AS q ON t.symbol = q.symbol",
        [{"id": 1, "bid": 9.5}, {"id": 2, "bid": 19.5}, {"id": 4, "bid": 10.5}, {"id": 3, "bid": 10.5}, {"id": 5, "bid": 19.5},
         {"id": 6, "bid": 10.5}, {"id": 8, "bid": 10.5}, {"id": 10, "bid": 20.5}],
        late=(6, 8),
    ),
    Case(
        "a window over joined rows",
        f"WITH j AS (SELECT t.event_time AS ts, t.price - q.bid AS gap FROM trades AS t JOIN quotes FOR SYSTEM_TIME AS OF "
        f"t.event_time AS q ON t.symbol = q.symbol) SELECT window_start, window_end, COUNT(*) AS n FROM TABLE(TUMBLE(TABLE j, "
        f"DESCRIPTOR(ts), INTERVAL '1' MINUTE)) {_BY}",
        _windows((0, 60, 4), (60, 120, 2), (120, 180, 1), (180, 240, 1)),
        late=(6, 8),
    ),
)  # fmt: skip

_EXPRESSIONS: tuple[tuple[str, object], ...] = (
    ("i / 2", 3), ("-i / 2", -3), ("i / zero", None), ("d / zero", None), ("i % 4", 3), ("MOD(i, zero)", None), ("m / 2", 6.17),
    ("m * 2", "24.68"), ("m + 1", "13.34"), ("d * m", 30.85), ("big + big", None), ("big * 1.5", "13500000000000000000"),
    ("1 = 1 AND NOT flag", False), ("nothing IS NULL", True), ("nothing = 'x'", None), ("nothing IS DISTINCT FROM 'x'", True),
    ("i BETWEEN 7 AND 8", True), ("i IN (1, 7)", True), ("i NOT IN (1, 2)", True), ("s LIKE '%b-c%'", True), ("s || i", " Ab-cd 7"),
    ("CAST('x' AS INT)", None), ("CAST('12' AS INT)", 12), ("CAST(d AS INT)", 2), ("TRY_CAST(m AS STRING)", "12.34"),
    ("CAST('2024-01-01T02:00:00+02:00' AS TIMESTAMP_LTZ(3))", seconds(0)), ("CAST(event_time AS STRING)", "2024-01-01 01:02:03.000"),
    ("CAST(1 AS DECIMAL(5, 2))", "1"), ("CASE i WHEN 7 THEN 'seven' END", "seven"), ("CASE WHEN i > 9 THEN 1 END", None),
    ("COALESCE(nothing, 'y')", "y"), ("IFNULL(nothing, s)", " Ab-cd "), ("NULLIF(i, 7)", None), ("IF(flag, 1, 2)", 1),
    ("GREATEST(i, 9)", 9), ("LEAST(i, 9)", 7), ("ABS(-i)", 7), ("CEIL(d)", 3.0), ("FLOOR(d)", 2.0), ("ROUND(d)", 3.0),
    ("ROUND(m, 1)", "12.3"), ("TRUNCATE(d)", 2.0), ("SIGN(-d)", -1), ("SQRT(-d)", None), ("POWER(i, 2)", 49.0), ("LN(zero)", None),
    ("LOG10(100)", 2.0), ("LOG2(8)", 3.0), ("EXP(0)", 1.0), ("UPPER(s)", " AB-CD "), ("LOWER(s)", " ab-cd "), ("TRIM(s)", "Ab-cd"),
    ("LTRIM(s)", "Ab-cd "), ("RTRIM(s)", " Ab-cd"), ("CHAR_LENGTH(s)", 7), ("SUBSTRING(s FROM 2 FOR 2)", "Ab"), ("SUBSTR(s, 5)", "cd "),
    ("LEFT(s, 3)", " Ab"), ("RIGHT(s, 3)", "cd "), ("REPLACE(s, '-', '+')", " Ab+cd "), ("CONCAT('a', nothing)", None),
    ("CONCAT_WS('-', 'a', nothing, 'b')", "a-b"), ("POSITION('b' IN s)", 3), ("INSTR(s, 'z')", 0), ("LPAD('7', 3, '0')", "007"),
    ("RPAD('7', 3, '0')", "700"), ("REPEAT('ab', 2)", "abab"), ("REVERSE('abc')", "cba"), ("STARTSWITH(s, ' A')", True),
    ("ENDSWITH(s, 'x')", False), ("SPLIT_INDEX('a,b', ',', 1)", "b"), ("SPLIT_INDEX('a,b', ',', 5)", None),
    ("REGEXP(s, '[0-9]')", False), ("REGEXP_EXTRACT(s, '(.)-(.)', 2)", "c"), ("REGEXP_EXTRACT(s, 'z')", None),
    ("REGEXP_REPLACE(s, '[a-z]', '.')", " A.-.. "), ("MD5('a')", "0cc175b9c0f1b6a831c399e269772661"),
    ("LEFT(SHA256('a'), 8)", "ca978112"), ("JSON_VALUE(js, '$.a.b')", "x"), ("JSON_VALUE(js, '$.n')", "5"),
    ("JSON_VALUE(js, '$.l')", None), ("JSON_VALUE(s, '$.a')", None), ("JSON_EXISTS(js, '$.a')", True), ("JSON_EXISTS(s, '$.a')", False),
    ("EXTRACT(HOUR FROM event_time)", 1), ("YEAR(event_time)", 2024), ("MONTH(event_time)", 1), ("DAYOFMONTH(event_time)", 1),
    ("DAYOFWEEK(event_time)", 2), ("HOUR(event_time)", 1), ("MINUTE(event_time)", 2), ("SECOND(event_time)", 3),
    ("FLOOR(event_time TO MINUTE)", seconds(3720)), ("CEIL(event_time TO HOUR)", seconds(7200)),
    ("event_time + INTERVAL '1' DAY", "2024-01-02T01:02:03.000Z"), ("event_time - interval '3 seconds'", seconds(3720)),
    ("TIMESTAMPDIFF(MINUTE, event_time, event_time + INTERVAL '1' HOUR)", 60), ("TIMESTAMPADD(HOUR, 1, event_time)", seconds(7323)),
    ("TO_TIMESTAMP_LTZ(1704067200, 0)", seconds(0)), ("TO_TIMESTAMP_LTZ(1704067200500, 3)", seconds(0.5)),
    ("TO_TIMESTAMP('2024-01-01 00:00:01')", "2024-01-01T00:00:01.000"), ("TO_DATE('2024-02-03')", "2024-02-03"),
    ("TO_DATE('soon')", None), ("UNIX_TIMESTAMP(event_time)", 1704070923), ("day", "2024-01-01"), ("`odd name`", "q"),
    ("day < event_time", True), ("event_time >= '2024-01-01 01:00:00'", True), ("CHARACTER_LENGTH('é')", 1),
)  # fmt: skip


def _expression_cases(size: int) -> Iterator[Case]:
    """The expressions, so many to a query."""
    for first in range(0, len(_EXPRESSIONS), size):
        part = _EXPRESSIONS[first : first + size]
        items = ", ".join(f"{text} AS v{place}" for place, (text, _) in enumerate(part))
        row = {f"v{place}": value for place, (_, value) in enumerate(part) if value is not None}
        yield Case(f"expressions from {part[0][0]} on", f"SELECT {items} FROM source_stream", [row])


CASES: tuple[Case, ...] = (*WINDOW_CASES, *ROW_CASES, *_expression_cases(12))

_T = f"FROM {_MINUTE}"
REFUSALS: tuple[Refusal, ...] = (
    Refusal("GROUP BY without a window", "SELECT symbol, COUNT(*) FROM trades GROUP BY symbol", "line 1, column 46", ("without a window", "TUMBLE")),
    Refusal("an aggregate without GROUP BY", "SELECT COUNT(*) FROM trades", "line 1, column 8", ("without a window", "TUMBLE")),
    Refusal("a window without window_end", f"SELECT COUNT(*)\n{_T}\nGROUP BY window_start", "line 3, column 10", ("lacks window_end", "GROUP BY window_start, window_end")),
    Refusal("rows of a window one by one", f"SELECT * {_T}", "line 1, column 34", ("grouped or ranked",)),
    Refusal("a join of two streams", "SELECT t.id FROM trades AS t JOIN quotes AS q ON t.symbol = q.symbol", "line 1, column 35", ("keeps both without limit", "FOR SYSTEM_TIME AS OF")),
    Refusal("a join as of another time", "SELECT t.id FROM trades AS t JOIN quotes FOR SYSTEM_TIME AS OF q.event_time AS q ON t.symbol = q.symbol", "line 1, column 64", ("no input q",)),
    Refusal("a join by more than equality", "SELECT t.id FROM trades AS t JOIN names AS n ON t.symbol < n.symbol", "line 1, column 49", ("columns that are equal", "WHERE")),
    Refusal("a full join", "SELECT t.id FROM trades AS t FULL JOIN names AS n ON t.symbol = n.symbol", "line 1, column 40", ("FULL JOIN", "LEFT JOIN")),
    Refusal("a table read as a stream", "SELECT name FROM names", "line 1, column 18", ("is a table", "Join it")),
    Refusal("ORDER BY", "SELECT id FROM trades ORDER BY id", "line 1, column 32", ("ORDER BY", "ROW_NUMBER")),
    Refusal("LIMIT", "SELECT id FROM trades LIMIT 3", "line 1, column 29", ("LIMIT", "ROW_NUMBER")),
    Refusal("QUALIFY", "SELECT id FROM trades QUALIFY ROW_NUMBER() OVER (ORDER BY id) = 1", "line 1, column 31", ("QUALIFY", "WHERE rn <= 3")),
    Refusal("DISTINCT", "SELECT DISTINCT symbol FROM trades", "line 1, column 17", ("keeps every row", "GROUP BY window_start")),
    Refusal("UNION", "SELECT id FROM trades UNION ALL SELECT id FROM trades", "line 1, column 8", ("UNION",)),
    Refusal("two statements", "SELECT id FROM trades; SELECT 1", "line 1, column 31", ("more than one statement",)),
    Refusal("INSERT", "INSERT INTO x SELECT id FROM trades", "line 1, column 1", ("INSERT is not a query",)),
    Refusal("DROP", "DROP TABLE trades", "line 1, column 1", ("DROP is not a query",)),
    Refusal("SET", "SET threads = 4", "line 1, column 1", ("SET is not a query",)),
    Refusal("COPY", "COPY trades TO 'x.csv'", "line 1, column 1", ("COPY is not a query",)),
    Refusal("ATTACH", "-- a comment\nATTACH 'x.db'", "line 2, column 1", ("ATTACH is not a query",)),
    Refusal("a file as a table function", "SELECT * FROM read_csv('/etc/passwd')", "line 1, column 15", ("READ_CSV is not allowed",)),
    Refusal("a file as a table", "SELECT * FROM '/etc/passwd'", "line 1, column 15", ("no input /etc/passwd",)),
    Refusal("a file by name", "SELECT * FROM `trades.csv`", "line 1, column 15", ("no input trades.csv", "did you mean trades?")),
    Refusal("another schema", "SELECT * FROM information_schema.tables", "line 1, column 15", ("one part",)),
    Refusal("an unknown input", "SELECT id FROM trade", "line 1, column 16", ("no input trade", "did you mean trades?", "quotes")),
    Refusal("an unknown column", "SELECT prize FROM trades", "line 1, column 8", ("no column prize", "did you mean price?", "symbol")),
    Refusal("an unknown column, two lines down", "SELECT id,\n  t.prize\nFROM trades AS t", "line 2, column 3", ("no column prize",)),
    Refusal("an unknown qualifier", "SELECT x.id FROM trades AS t", "line 1, column 8", ("no input x",)),
    Refusal("a column of two inputs", "SELECT symbol FROM trades AS t JOIN names AS n ON t.symbol = n.symbol", "line 1, column 8", ("is ambiguous", "t.symbol")),
    Refusal("a function that is not allowed", "SELECT getenv('HOME') AS h FROM trades", "line 1, column 8", ("GETENV is not allowed", "docs/sql.md")),
    Refusal("a misspelled function", "SELECT uper(symbol) AS u FROM trades", "line 1, column 8", ("did you mean UPPER?",)),
    Refusal("a wrong number of arguments", "SELECT REPLACE(symbol, 'a') AS r FROM trades", "line 1, column 8", ("does not take 2", "REPLACE(string, string, string)")),
    Refusal("a wrong type", "SELECT price + symbol AS x FROM trades", "line 1, column 16", ("needs numbers", "STRING")),
    Refusal("an interval as an argument", "SELECT COALESCE(INTERVAL '1' DAY) AS d FROM trades", "line 1, column 26", ("not INTERVAL",)),
    Refusal("types without common ground", "SELECT id FROM trades WHERE symbol = 1", "line 1, column 29", ("no common type", "CAST")),
    Refusal("a WHERE that is no condition", "SELECT id FROM trades WHERE price", "line 1, column 29", ("needs a condition",)),
    Refusal("an aggregate in WHERE", f"SELECT COUNT(*) {_T} WHERE COUNT(*) > 1 {_BY}", "line 1, column 101", ("not allowed here",)),
    Refusal("a column that is not grouped", f"SELECT symbol, COUNT(*) {_T} {_BY}", "line 1, column 8", ("neither grouped by", "FIRST_VALUE(symbol)")),
    Refusal("GROUP BY an ordinal", f"SELECT symbol, COUNT(*) {_T} {_BY}, 1", "line 1, column 138", ("ordinals",)),
    Refusal("GROUP BY an alias", f"SELECT UPPER(symbol) AS u {_T} {_BY}, u", "line 1, column 140", ("no alias", "the expression itself")),
    Refusal("now() beside a window", f"SELECT COUNT(*) {_T} WHERE event_time < now() {_BY}", "line 1, column 114", ("now() has no meaning", "window_start")),
    Refusal("ROW_NUMBER without a window", "SELECT ROW_NUMBER() OVER (ORDER BY id) AS rn FROM trades", "line 1, column 8", ("take rows back", "window_start, window_end")),
    Refusal("ROW_NUMBER without a bound", f"SELECT ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY id) AS rn {_T}", "line 1, column 8", ("needs a bound", "rn <= 3")),
    Refusal("ROW_NUMBER across windows", f"SELECT * FROM (SELECT ROW_NUMBER() OVER (PARTITION BY symbol ORDER BY id) AS rn {_T}) WHERE rn = 1", "line 1, column 23", ("lacks window_start and window_end",)),
    Refusal("another OVER", f"SELECT SUM(qty) OVER (PARTITION BY window_start, window_end ORDER BY id) AS s {_T}", "line 1, column 8", ("one ROW_NUMBER()",)),
    Refusal("a window by another time", "SELECT COUNT(*) FROM TABLE(TUMBLE(TABLE trades, DESCRIPTOR(id), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end", "line 1, column 60", ("not the event time", "DESCRIPTOR(event_time)")),
    Refusal("a window of months", "SELECT COUNT(*) FROM TABLE(TUMBLE(TABLE trades, DESCRIPTOR(event_time), INTERVAL '1' MONTH)) GROUP BY window_start, window_end", "line 1, column 82", ("fixed length",)),
    Refusal("a slide that does not divide", "SELECT COUNT(*) FROM TABLE(HOP(TABLE trades, DESCRIPTOR(event_time), INTERVAL '2' MINUTE, INTERVAL '3' MINUTE)) GROUP BY window_start, window_end", "line 1, column 38", ("no multiple",)),
    Refusal("windows that cover each other without panes", "SELECT COUNT(DISTINCT symbol) FROM TABLE(HOP(TABLE trades, DESCRIPTOR(event_time), INTERVAL '1' MINUTE, INTERVAL '1' DAY)) GROUP BY window_start, window_end", "", ("1440 windows", "panes")),
    Refusal("a subquery in an expression", "SELECT id FROM trades WHERE id IN (SELECT id FROM quotes)", "line 1, column 29", ("IN takes a list",)),
    Refusal("a syntax error", "SELECT id FRM trades", "line 1, column 15", ("Unexpected token",)),
    Refusal("an empty query", "  ", "line 1, column 1", ("empty",)),
    Refusal("two columns of one name", "SELECT id, qty AS id FROM trades", "line 1, column 8", ("two columns are named id",)),
    Refusal("a hidden setting", "SELECT current_setting('threads') AS t FROM trades", "line 1, column 8", ("CURRENT_SETTING is not allowed",)),
    Refusal("a regular expression that is none", "SELECT REGEXP(symbol, '[') AS r FROM trades", "", ("missing ]",)),
    Refusal("a query without input", "SELECT 1 AS one", "line 1, column 8", ("reads no input",)),
)  # fmt: skip
