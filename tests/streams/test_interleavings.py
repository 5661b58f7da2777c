"""Rows and late rows follow from each input's own sequence: whatever the interleaving, the batches, the signs and the restarts."""

import dataclasses

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.events.schema import Column, RowSchema
from headrace.streams.duckdb import DuckDBEngine
from headrace.streams.stream_engine import EngineOptions, QueryPlan, QuerySpec, StreamInput
from headrace.testing.engine_cases import START_MS, make_batch
from headrace.testing.engine_conformance import Outcome
from headrace.testing.join_reference import Join, Row, joined
from headrace.testing.window_reference import windows_of

SCHEMA = RowSchema((Column("ts", "TIMESTAMP_LTZ(3)"), Column("k", "STRING"), Column("v", "INT")))
OUT_OF_ORDERNESS = 3_000
ENGINE = DuckDBEngine()
PLANS: dict[str, tuple[QuerySpec, QueryPlan]] = {}
FROM_JOIN = "FROM l LEFT JOIN r FOR SYSTEM_TIME AS OF l.ts AS r ON l.k = r.k"
JOIN = f"SELECT l.v AS v, r.v AS w {FROM_JOIN}"
GROUPS = "GROUP BY window_start, window_end, k"
OVER_JOIN = (
    f"WITH j AS (SELECT l.ts, l.k, l.v, r.v AS w {FROM_JOIN}) SELECT k, COUNT(*) AS n, COUNT(w) AS c "
    f"FROM TABLE(TUMBLE(TABLE j, DESCRIPTOR(ts), INTERVAL '5' SECOND)) {GROUPS}"
)
WINDOWS = {
    "TUMBLE": ("TUMBLE", 5, 5), "HOP": ("HOP", 6, 2), "CUMULATE": ("CUMULATE", 6, 2),
    "PANES": ("HOP", 20, 2), "CUMULATED PANES": ("CUMULATE", 18, 2),
}  # fmt: skip

steps = st.lists(
    st.one_of(
        st.tuples(st.integers(-6_000, 6_000), st.sampled_from("ab"), st.integers(0, 900)),
        st.sampled_from(["idle", "idle", "end"]),
    ),
    min_size=1,
    max_size=14,
)


def sequence(drawn: list) -> list:
    """Rows and signs of an input, the last of them an `end`; event times wander, arrivals never go back."""
    found, arrived = [], START_MS
    for place, one in enumerate(drawn):
        if isinstance(one, str):
            found.append(one)
            continue
        jitter, key, pause = one
        arrived += pause
        found.append(Row(10_000 + 1_500 * place + jitter, key, place, arrived))
    return [*found, "end"]


inputs = steps.map(sequence)


@dataclasses.dataclass
class Run:
    """A query under way, fed piece by piece."""

    sql: str
    sides: dict[str, list]
    outcome: Outcome = dataclasses.field(default_factory=Outcome)
    dead: int = 0

    def __post_init__(self) -> None:
        if self.sql not in PLANS:
            spec = QuerySpec(
                self.sql, [StreamInput(one, SCHEMA, f"t{one}", "ts", OUT_OF_ORDERNESS) for one in self.sides]
            )
            PLANS[self.sql] = spec, ENGINE.plan(spec)
        self.state: dict[str, bytes] = {}
        self.done = dict.fromkeys(self.sides, 0)
        self.rows = dict.fromkeys(self.sides, 0)
        self.restart()

    def restart(self) -> None:
        self.query = ENGINE.start(*PLANS[self.sql], dict(self.state), EngineOptions())

    def advance(self, name: str, count: int) -> None:
        """Hands in up to so many rows, or one sign."""
        ahead = self.sides[name][self.done[name] :]
        if not ahead:
            return None
        if isinstance(ahead[0], str):
            self.done[name] += 1
            return self._take(getattr(self.query, {"idle": "idle", "end": "end_of_input"}[ahead[0]])(name), 0)
        rows: list[Row] = []
        while ahead and isinstance(ahead[0], Row) and len(rows) < count:
            rows.append(ahead.pop(0))
        batch = make_batch(name, SCHEMA, [(one.time / 1000, one.key, one.value) for one in rows])
        numbers = range(self.rows[name], self.rows[name] + len(rows))
        batch = dataclasses.replace(
            batch,
            ids=pa.array([f"{name}{one}" for one in numbers]),
            ingested_at=pa.array([one.arrived for one in rows]),
        )
        self.done[name] += len(rows)
        self.rows[name] += len(rows)
        return self._take(self.query.process(name, batch), numbers.start)

    def promise(self, name: str) -> None:
        """What may be promised: everything that arrived before the next row has been handed in."""
        left = [one.arrived for one in self.sides[name][self.done[name] :] if isinstance(one, Row)]
        self._take(self.query.caught_up(name, left[0] - 1 if left else START_MS + 10**9), 0)

    def finish(self) -> "Run":
        for name, side in self.sides.items():
            while self.done[name] < len(side):
                self.advance(name, 5)
        for _ in range(max(map(len, self.sides.values()))):  # each gives out one part of the left side
            for name in self.sides:
                self.promise(name)
        self.outcome.late.sort()
        return self

    def _take(self, output, first: int) -> None:
        self.dead += len(output.dead)
        self.outcome.take(dataclasses.replace(output, dead=()), first)
        for key, value in self.query.snapshot().items():
            if value is None:
                del self.state[key]
            else:
                self.state[key] = value


turns = st.lists(
    st.tuples(st.sampled_from(["rows", "rows", "rows", "promise", "restart"]), st.booleans(), st.integers(1, 6)),
    max_size=40,
)


def run(sql: str, sides: dict[str, list], order: list) -> Run:
    found, names = Run(sql, sides), list(sides)
    for action, second, count in order:
        name = names[second and len(names) > 1]
        if action == "rows":
            found.advance(name, count)
        elif action == "promise":
            found.promise(name)
        else:
            found.restart()
    return found.finish()


def pairs(found: Join) -> list[dict]:
    return [{"v": row.value} | ({} if version is None else {"w": version.value}) for _, row, version in found.rows]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(left=inputs, right=inputs, order=turns)
def test_a_join_follows_from_its_sides_however_they_are_interleaved(left, right, order):
    found = run(JOIN, {"l": left, "r": right}, order)
    wanted = joined(left, right, OUT_OF_ORDERNESS)
    assert found.outcome.rows == pairs(wanted)
    assert [(name, place) for name, place, _ in found.outcome.late] == wanted.late
    assert found.dead == 0


@settings(max_examples=14, deadline=None, derandomize=True)
@given(left=inputs, right=inputs, order=turns)
def test_a_window_over_a_join_follows_from_its_sides_however_they_are_interleaved(left, right, order):
    found = run(OVER_JOIN, {"l": left, "r": right}, order)
    wanted = joined(left, right, OUT_OF_ORDERNESS)
    rows, dead = _bars(wanted)
    assert found.outcome.rows == rows
    assert [(name, place) for name, place, _ in found.outcome.late] == wanted.late
    assert found.dead == dead


def _bars(found: Join) -> tuple[list[dict], int]:
    rows, dead, closed, bars = list[dict](), 0, -1, dict[tuple, list]()
    for part in range(found.parts):
        for _, row, version in [one for one in found.rows if one[0] == part]:
            ((start, end),) = windows_of(row.time, "TUMBLE", 5_000, 5_000)
            if end <= closed:
                dead += 1
            else:
                bars.setdefault((end, start, row.key), []).append(version)
        rows += [
            {"k": key, "n": len(bars[end, start, key]), "c": sum(one is not None for one in bars[end, start, key])}
            for end, start, key in sorted(bars)
        ]
        closed, bars = max([closed, *(end for end, _, _ in bars)]), {}
    return rows, dead


@settings(max_examples=10, deadline=None, derandomize=True)
@given(one=inputs, order=turns)
def test_a_join_of_a_stream_with_itself_follows_from_the_stream(one, order):
    sql = "SELECT a.v AS v, b.v AS w FROM l AS a LEFT JOIN l FOR SYSTEM_TIME AS OF a.ts AS b ON a.k = b.k"
    found = run(sql, {"l": one}, order)
    wanted = joined(one, one, OUT_OF_ORDERNESS, shared=True)
    assert found.outcome.rows == pairs(wanted)
    assert all("w" in row for row in found.outcome.rows)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(shape=st.sampled_from(sorted(WINDOWS)), side=inputs, order=turns)
def test_windows_follow_from_rows_and_ends_and_not_from_idle_signs(shape, side, order):
    kind, size, step = WINDOWS[shape]
    lengths = f"INTERVAL '{step}' SECOND" + (f", INTERVAL '{size}' SECOND" if kind != "TUMBLE" else "")
    found = run(
        f"SELECT k, COUNT(*) AS n, MAX(v) AS m FROM TABLE({kind}(TABLE l, DESCRIPTOR(ts), {lengths})) {GROUPS}",
        {"l": side},
        order,
    )
    rows, late = _windows(side, kind, size * 1000, step * 1000)
    assert found.outcome.rows == rows
    assert [place for _, place, _ in found.outcome.late] == late


def _windows(side: list, kind: str, size: int, step: int) -> tuple[list[dict], list[int]]:
    rows, late, closed, place = list[dict](), list[int](), -(1 << 60), 0
    bars, latest = dict[tuple, list[int]](), -(1 << 60)
    for one in side:
        if isinstance(one, Row):
            closed = max(closed, latest - OUT_OF_ORDERNESS)
            still = [(start, end) for start, end in windows_of(one.time, kind, size, step) if end > closed]
            late += [] if still else [place]
            for start, end in still:
                bars.setdefault((end, start, one.key), []).append(one.value)
            latest, place = max(latest, one.time), place + 1
        elif one == "end":
            rows += [{"k": key[2], "n": len(bars[key]), "m": max(bars[key])} for key in sorted(bars)]
            closed, bars = max([closed, latest - OUT_OF_ORDERNESS, *(end for end, _, _ in bars)]), {}
    return rows, late


@settings(max_examples=14, deadline=None, derandomize=True)
@given(side=inputs, order=turns)
def test_sessions_follow_from_rows_and_ends_and_not_from_idle_signs(side, order):
    sql = f"SELECT k, COUNT(*) AS n, MAX(v) AS m FROM TABLE(SESSION(TABLE l PARTITION BY k, DESCRIPTOR(ts), INTERVAL '4' SECOND)) {GROUPS}"
    found, plain = run(sql, {"l": side}, order), run(sql, {"l": [one for one in side if one != "idle"]}, [])
    assert found.outcome == plain.outcome
    counted = sum(row["n"] for row in found.outcome.rows)
    assert counted + len(found.outcome.late) == sum(isinstance(one, Row) for one in side)


def test_the_place_of_one_idle_sign_changes_neither_rows_nor_late_rows():
    left = [
        Row(10_000, "a", 1, START_MS),
        Row(20_000, "a", 2, START_MS + 10),
        Row(17_000, "a", 3, START_MS + 20),
        "end",
    ]
    right = [Row(9_000, "a", 7, START_MS + 5), "idle", Row(30_000, "a", 8, START_MS + 1_000), "end"]
    wanted = [{"v": 1, "w": 7}, {"v": 3, "w": 7}, {"v": 2, "w": 7}]
    ways = [
        [(0, 3), (1, 3), (1, 1)],
        [(1, 3), (1, 1), (0, 3)],
        [(0, 2), (1, 3), (1, 1), (0, 1)],
        [(1, 3), (1, 1), (1, 3), (0, 3)],
    ]
    for way in ways:
        found = run(JOIN, {"l": left, "r": right}, [("rows", bool(side), count) for side, count in way])
        assert found.outcome.rows == wanted
        assert found.outcome.late == []
