"""Windows against a plain reference, whatever the batches, the restarts and the disorder."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.events.schema import Column, RowSchema
from headrace.streams.duckdb import DuckDBEngine
from headrace.streams.stream_engine import QueryPlan, QuerySpec, StreamInput
from headrace.testing.engine_cases import START_MS, make_batch
from headrace.testing.engine_conformance import Outcome, run
from headrace.testing.window_reference import Event, expected, expected_sessions

SCHEMA = RowSchema((Column("ts", "TIMESTAMP_LTZ(3)"), Column("k", "STRING"), Column("v", "DOUBLE")))
OUT_OF_ORDERNESS = 3_000


class Remembering(DuckDBEngine):
    """Plans each query once."""

    def __init__(self) -> None:
        self._plans: dict[tuple, QueryPlan] = {}

    def plan(self, spec: QuerySpec) -> QueryPlan:
        key = (spec.sql, tuple(one.name for one in spec.inputs))
        if key not in self._plans:
            self._plans[key] = super().plan(spec)
        return self._plans[key]


ENGINE = Remembering()
SHAPES = {
    "TUMBLE": ("TUMBLE", 5, 5), "HOP": ("HOP", 6, 2), "CUMULATE": ("CUMULATE", 6, 2),
    "PANES": ("HOP", 20, 2), "CUMULATED PANES": ("CUMULATE", 18, 2),
}  # fmt: skip

events = st.lists(
    st.tuples(st.integers(-9_000, 9_000), st.sampled_from("ab"), st.sampled_from([0.1, 0.2, 0.7, 1e16, -1e16, 3.3])),
    min_size=1,
    max_size=25,
).map(
    lambda steps: [
        Event(20_000 + 1_500 * place + jitter, key, value) for place, (jitter, key, value) in enumerate(steps)
    ]
)
cuts = st.lists(st.integers(1, 25), max_size=6).map(lambda places: sorted(set(places)))


def ask(window: str, rows: list[Event], places: list[int], *, restart: bool) -> Outcome:
    sql = (
        "SELECT window_start AS s, window_end AS e, k, COUNT(*) AS n, FIRST_VALUE(v) AS f, LAST_VALUE(v) AS l, MAX(v) AS m, "
        f"SUM(v) AS t FROM TABLE({window}) GROUP BY window_start, window_end, k"
    )
    spec = QuerySpec(sql, [StreamInput("x", SCHEMA, "t", "ts", OUT_OF_ORDERNESS)])
    batch = make_batch("x", SCHEMA, [(one.time / 1000, one.key, one.value) for one in rows])
    return run(ENGINE, spec, {"x": batch}, places, restart=restart)


def facts(outcome: Outcome) -> list[tuple]:
    """Rows without sums, whose order of addition is the engine's own."""
    return [(row["k"], row["n"], row["f"], row["l"], row["m"]) for row in outcome.rows]


def check(outcome: Outcome, wanted: tuple[list[tuple], list[int]]) -> None:
    rows, late = wanted
    assert facts(outcome) == [row[2:7] for row in rows]
    assert [event_time for _, _, event_time, _, _ in outcome.envelopes] == [START_MS + row[1] - 1 for row in rows]
    assert [place for _, place, _ in outcome.late] == late


@pytest.mark.slow
@settings(max_examples=30, deadline=None, derandomize=True)
@given(shape=st.sampled_from(sorted(SHAPES)), rows=events, places=cuts, restart=st.booleans())
def test_windows_equal_the_reference_whatever_the_batches_and_restarts(shape, rows, places, restart):
    kind, size, step = SHAPES[shape]
    lengths = f"INTERVAL '{step}' SECOND" + (f", INTERVAL '{size}' SECOND" if kind != "TUMBLE" else "")
    window = f"{kind}(TABLE x, DESCRIPTOR(ts), {lengths})"
    outcome = ask(window, rows, places, restart=restart)
    check(outcome, expected(rows, kind, size * 1000, step * 1000, OUT_OF_ORDERNESS))
    assert outcome == ask(window, rows, [], restart=False)


@pytest.mark.slow
@settings(max_examples=16, deadline=None, derandomize=True)
@given(rows=events, places=cuts, restart=st.booleans())
def test_sessions_equal_the_reference_whatever_the_batches_and_restarts(rows, places, restart):
    window = "SESSION(TABLE x PARTITION BY k, DESCRIPTOR(ts), INTERVAL '4' SECOND)"
    outcome = ask(window, rows, places, restart=restart)
    check(outcome, expected_sessions(rows, 4_000, OUT_OF_ORDERNESS))
    assert outcome == ask(window, rows, [], restart=False)


@pytest.mark.slow
@settings(max_examples=10, deadline=None, derandomize=True)
@given(rows=events, others=events, places=cuts, order=st.booleans(), restart=st.booleans())
def test_a_join_of_streams_does_not_depend_on_batches_nor_on_which_side_came_first(
    rows, others, places, order, restart
):
    sql = "SELECT l.v AS v, r.v AS w FROM l LEFT JOIN r FOR SYSTEM_TIME AS OF l.ts AS r ON l.k = r.k"
    sides = [
        StreamInput("l", SCHEMA, "tl", "ts", OUT_OF_ORDERNESS),
        StreamInput("r", SCHEMA, "tr", "ts", OUT_OF_ORDERNESS),
    ]
    batches = {
        name: make_batch(name, SCHEMA, [(one.time / 1000, one.key, one.value) for one in side])
        for name, side in (("l", rows), ("r", others))
    }
    spec = QuerySpec(sql, sides)
    outcome = run(ENGINE, QuerySpec(sql, sides[::-1] if order else sides), batches, places, restart=restart)
    assert outcome.rows == run(ENGINE, spec, batches).rows
    assert outcome.late == run(ENGINE, spec, batches).late
    assert outcome.rows == _joined(rows, others)


def _joined(rows: list[Event], others: list[Event]) -> list[dict[str, float]]:
    left, right = _in_time(rows), _in_time(others)
    found = []
    for event in left:
        known = [other for other in right if other.key == event.key and other.time <= event.time]
        found.append({"v": event.value} | ({"w": known[-1].value} if known else {}))
    return found


def _in_time(side: list[Event]) -> list[Event]:
    kept, latest = [], -(1 << 60)
    for event in side:
        if event.time >= latest - OUT_OF_ORDERNESS:
            kept.append(event)
        latest = max(latest, event.time)
    return sorted(kept, key=lambda one: one.time)
