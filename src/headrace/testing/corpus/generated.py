"""Rows that Hypothesis makes up, some dozens of examples in one stream, told apart by their number: one job compares them all."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache, cached_property
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from headrace.events.row_batch import RowBatch
from headrace.events.schema import Column, RowSchema
from headrace.streams.stream_engine import QuerySpec, StreamInput
from headrace.testing.corpus.corpus_query import CorpusQuery
from headrace.testing.corpus.readings import SPRING, row_batch

EXAMPLES, LONGEST = 60, 15
FEATURE = "generated rows"
_INPUT = "made_up"
MADE_UP = RowSchema(
    (
        Column("event_time", "TIMESTAMP_LTZ(3)"), Column("id", "BIGINT"), Column("key", "STRING"), Column("example", "INT"), Column("n", "INT"),
        Column("amount", "DECIMAL(20, 6)"), Column("x", "DOUBLE"), Column("ok", "BOOLEAN"), Column("at", "TIMESTAMP_LTZ(3)"), Column("day", "DATE"),
    )
)  # fmt: skip
_GAPS = st.one_of(
    st.sampled_from((0, 0, 1, 999, 1_000, 59_999, 60_000, -10_000, -10_001)), st.integers(-30_000, 90_000)
)
_ROW = st.tuples(
    _GAPS, st.none() | st.text(st.characters(codec="utf-8"), max_size=4), st.none() | st.integers(-(2**31), 2**31 - 1),
    st.none() | st.decimals(-(10**14) + 1, 10**14 - 1, places=6), st.none() | st.floats(allow_nan=False, allow_infinity=False), st.none() | st.booleans(),
    st.none() | st.integers(-62_135_596_800_000, 253_402_300_799_999), st.none() | st.integers(-719_162, 2_932_896),
)  # fmt: skip
_BY = "GROUP BY window_start, window_end"
_QUERIES = (
    ("rows", "SELECT id, example, key, n, amount, x, ok, at, day, n + 1 AS a, amount * 2 AS b, key || '!' AS c, CHAR_LENGTH(key) AS d, SUBSTRING(key, 2, 2) AS e, "
     "CAST(amount AS STRING) AS f, CAST(x AS INT) AS g, n > 0 OR ok AS h, CAST(at AS DATE) AS i, HOUR(at) AS j FROM made_up"),
    ("minutes by key", f"SELECT window_start, example, key, COUNT(*) AS c, SUM(n) AS s, FIRST_VALUE(amount) AS f, LAST_VALUE(key) AS l FROM TABLE(TUMBLE(TABLE made_up, DESCRIPTOR(event_time), INTERVAL '1' MINUTE)) {_BY}, example, key"),
    ("hops", f"SELECT window_start, window_end, example, SUM(amount) AS s, MIN(key) AS a, MAX(key) AS b, MAX(x) AS c, MIN(day) AS d, COUNT(DISTINCT key) AS e, MAX(at) AS f "
     f"FROM TABLE(HOP(TABLE made_up, DESCRIPTOR(event_time), INTERVAL '20' SECOND, INTERVAL '2' MINUTE)) {_BY}, example"),
    ("sessions", f"SELECT window_start, window_end, example, COUNT(*) AS c, MAX(n) AS m FROM TABLE(SESSION(TABLE made_up PARTITION BY example, DESCRIPTOR(event_time), INTERVAL '30' SECOND)) {_BY}, example"),
    ("first rows", "SELECT window_end, example, r, id FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end, example ORDER BY n DESC, key) AS r "
     "FROM TABLE(TUMBLE(TABLE made_up, DESCRIPTOR(event_time), INTERVAL '5' MINUTE))) WHERE r <= 3"),
)  # fmt: skip


def generated_queries(number: int = 0) -> Sequence[CorpusQuery]:
    """Queries over the rows of a seed."""
    batches = _made_up(number)
    stream = StreamInput(_INPUT, MADE_UP, "default.made_up.events", "event_time", 10_000)
    return [CorpusQuery(f"generated: {name}", FEATURE, QuerySpec(sql, [stream]), batches) for name, sql in _QUERIES]


class _MadeUp(Mapping[str, RowBatch]):
    """Made when they are first asked for: listing the queries does not wait for Hypothesis."""

    def __init__(self, number: int) -> None:
        self._number = number

    @cached_property
    def _batch(self) -> RowBatch:
        return _batch(self._number)

    def __getitem__(self, name: str) -> RowBatch:
        if name != _INPUT:
            raise KeyError(name)
        return self._batch

    def __iter__(self) -> Iterator[str]:
        return iter((_INPUT,))

    def __len__(self) -> int:
        return 1


@cache
def _made_up(number: int) -> _MadeUp:
    """One object for all queries over the rows of a seed."""
    return _MadeUp(number)


def _batch(number: int) -> RowBatch:
    rows, moment = list[tuple[Any, ...]](), SPRING - 1_800_000
    for place, example in enumerate(_examples(number)):
        for gap, key, n, amount, x, ok, at, day in example:
            moment += gap
            rows.append((moment, len(rows), key, place, n, None if amount is None else str(amount), x, ok, at, day))
    return row_batch(MADE_UP, rows, "g")


def _examples(number: int) -> list[list[tuple[Any, ...]]]:
    found = list[list[tuple[Any, ...]]]()

    @seed(number)
    @settings(
        max_examples=EXAMPLES,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(st.lists(_ROW, min_size=1, max_size=LONGEST))
    def collect(rows: list[tuple[Any, ...]]) -> None:
        found.append(rows)

    collect()
    return found
