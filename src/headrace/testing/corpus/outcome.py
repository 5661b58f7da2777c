"""What a run of a query gave, in a form that can be compared: a multiset of rows, and the late ones."""

from collections import Counter
from dataclasses import dataclass, field

from headrace.events.row_batch import RowBatch
from headrace.events.row_codec import batch_to_records
from headrace.streams.duckdb import DuckDBEngine
from headrace.streams.stream_engine import EngineOptions
from headrace.testing.corpus.corpus_query import CorpusQuery

Row = tuple[str, str, int, int, str, str]
"""id, key, event time, ingested at, origin, canonical JSON"""


@dataclass(slots=True)
class Outcome:
    """All that came out of one query."""

    rows: "Counter[Row]" = field(default_factory=Counter[Row])
    late: "Counter[tuple[str, int, int]]" = field(default_factory=Counter[tuple[str, int, int]])
    """(input, offset, by how many ms)"""

    def take(self, batch: RowBatch | None) -> None:
        """Counts rows in."""
        for one in batch_to_records(batch) if batch is not None else ():
            self.rows[one.id, one.key, one.event_time, one.ingested_at, one.origin, one.value.decode()] += 1


def on_duckdb(query: CorpusQuery) -> Outcome:
    """The outcome of the embedded engine, every input handed in whole."""
    engine, outcome = DuckDBEngine(), Outcome()
    plan = engine.plan(query.spec)
    running = engine.start(query.spec, plan, {}, EngineOptions())
    for name in plan.inputs:
        output = running.process(name, query.batches[name])
        assert not output.dead, output.dead
        outcome.take(output.rows)
        outcome.late.update((one.input, one.index, one.by_ms) for one in output.late)
    for name in plan.inputs:
        output = running.end_of_input(name)
        assert not output.dead, output.dead
        outcome.take(output.rows)
    return outcome


def differences(one: Outcome, other: Outcome, names: tuple[str, str]) -> list[str]:
    """What only one of them has, the first few; empty: they are equal."""
    found: list[str] = []
    for name, mine, theirs in ((names[0], one, other), (names[1], other, one)):
        rows, late = list((mine.rows - theirs.rows).elements()), list((mine.late - theirs.late).elements())
        found += [f"only {name}: {row}" for row in sorted(rows, key=lambda row: (row[2], row[5]))[:5]]
        found += [f"only {name}, late: {row}" for row in sorted(late)[:5]]
        if len(rows) > 5:
            found.append(f"only {name}: {len(rows)} rows of {sum(mine.rows.values())}")
    return found
