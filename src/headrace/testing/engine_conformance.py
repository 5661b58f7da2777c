"""What every stream engine must answer: queries with their input and the rows that must come out, and queries to refuse.

A test module of an engine makes a subclass of `EngineConformance` with a fixture `engine`; pytest runs the rest. Each case is
run in one piece, row by row, and row by row with a restart from the snapshots after every one: the same rows, ids, late rows.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest

from headrace.events.row_batch import RowBatch
from headrace.events.row_codec import batch_to_records, row_values
from headrace.foundation.errors import InvalidQueryError
from headrace.log.record import Record
from headrace.streams.stream_engine import (
    EngineOptions,
    QueryOutput,
    QuerySpec,
    StreamEngine,
)
from headrace.testing.engine_cases import (
    CASES,
    REFUSALS,
    ROW_CASES,
    TRADE_ROWS,
    WINDOW_CASES,
    Case,
    Refusal,
    case_spec,
    corpus_batches,
)


@dataclass(slots=True)
class Outcome:
    """Everything that a run gave."""

    rows: list[dict[str, object]] = field(default_factory=list[dict[str, object]])
    envelopes: list[tuple[object, ...]] = field(default_factory=list[tuple[object, ...]])
    """(id, key, event time, ingested at, origin) of each row"""
    late: list[tuple[str, int, int]] = field(default_factory=list[tuple[str, int, int]])
    """(input, place among all its rows, by how many ms)"""

    def take(self, output: QueryOutput, first: int) -> None:
        assert not output.dead, output.dead
        self.late += [(one.input, first + one.index, one.by_ms) for one in output.late]
        if output.rows is None:
            return
        for one in batch_to_records(output.rows):
            self.rows.append(row_values(Record(0, one.id, one.kind, one.value, 0, "", "", 0)))
            self.envelopes.append((one.id, one.key, one.event_time, one.ingested_at, one.origin))


def run(
    engine: StreamEngine,
    spec: QuerySpec,
    batches: Mapping[str, RowBatch],
    cuts: Sequence[int] = (),
    *,
    restart: bool = False,
) -> Outcome:
    """Hands every input in, cut after each of `cuts` rows, inputs in turn; `restart`: from the snapshots, after each piece."""
    plan = engine.plan(spec)
    query, state, outcome = engine.start(spec, plan, {}, EngineOptions()), dict[str, bytes](), Outcome()
    pieces = {name: list(_pieces(batches[name], cuts)) for name in plan.inputs}
    for turn in range(max(len(one) for one in pieces.values())):
        for name in plan.inputs:
            if turn >= len(pieces[name]):
                continue
            first, piece = pieces[name][turn]
            outcome.take(query.process(name, piece), first)
            for key, value in query.snapshot().items():
                if value is None:
                    del state[key]
                else:
                    state[key] = value
            if restart:
                query = engine.start(spec, plan, dict(state), EngineOptions())
    for name in plan.inputs:
        outcome.take(query.end_of_input(name), 0)
    for name in plan.inputs:
        outcome.take(query.caught_up(name, query.newest_arrival()), 0)
    outcome.late.sort()
    return outcome


def _pieces(batch: RowBatch, cuts: Sequence[int]) -> Iterator[tuple[int, RowBatch]]:
    borders = [0, *(cut for cut in cuts if cut < batch.num_rows), batch.num_rows]
    for start, end in pairwise(borders):
        yield start, batch.slice(start, end - start)


class EngineConformance:
    """Subclass it with a fixture `engine`."""

    @pytest.fixture
    def engine(self) -> StreamEngine:
        raise NotImplementedError("give the engine under test")

    def test_the_corpus_is_not_empty(self) -> None:
        assert len(CASES) >= 40
        assert len(REFUSALS) >= 40
        assert len({case.name for case in CASES}) == len(CASES)

    @pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
    def test_a_query_gives_its_rows(self, engine: StreamEngine, case: Case) -> None:
        outcome = run(engine, case_spec(case.sql, case.timeline), corpus_batches())
        assert outcome.rows == [pytest.approx(row) if _has_floats(row) else dict(row) for row in case.rows]
        assert [place for _, place, _ in outcome.late] == list(case.late)
        assert all(by_ms >= 0 for _, _, by_ms in outcome.late)

    @pytest.mark.parametrize("case", [*WINDOW_CASES, *ROW_CASES], ids=lambda case: case.name)
    def test_batches_and_restarts_change_nothing(self, engine: StreamEngine, case: Case) -> None:
        spec, batches = case_spec(case.sql, case.timeline), corpus_batches()
        whole = run(engine, spec, batches)
        assert run(engine, spec, batches, range(1, len(TRADE_ROWS))) == whole
        assert run(engine, spec, batches, range(2, len(TRADE_ROWS), 2), restart=True) == whole
        assert len({envelope[0] for envelope in whole.envelopes}) == len(whole.envelopes)

    @pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.name)
    def test_a_query_is_refused_with_place_reason_and_form(self, engine: StreamEngine, refusal: Refusal) -> None:
        with pytest.raises(InvalidQueryError) as caught:
            engine.plan(case_spec(refusal.sql))
        assert (caught.value.where or "") == refusal.where
        for word in refusal.words:
            assert word in str(caught.value)


def _has_floats(row: Mapping[str, Any]) -> bool:
    return any(isinstance(value, float) for value in row.values())
