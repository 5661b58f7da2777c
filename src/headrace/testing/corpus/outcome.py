"""What a run of a query gave, in a form that can be compared: a multiset of rows, and the late ones."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, NamedTuple

import msgspec

from headrace.events.row_batch import RowBatch
from headrace.events.row_codec import batch_to_records
from headrace.streams.duckdb import DuckDBEngine
from headrace.streams.stream_engine import EngineOptions
from headrace.testing.corpus.corpus_query import CorpusQuery

SHOWN = 5
"""So many rows of a difference are spelled out."""


class Row(NamedTuple):
    """A row as its record has it."""

    id: str
    key: str
    event_time: int
    """Of a window's row: its window's end − 1 ms."""
    ingested_at: int
    origin: str
    value: str
    """Canonical JSON."""


LateRow = tuple[str, int, int]
"""(input, offset, by how many ms)"""


@dataclass(slots=True)
class Outcome:
    """All that came out of one query."""

    rows: "Counter[Row]" = field(default_factory=Counter[Row])
    late: "Counter[LateRow]" = field(default_factory=Counter[LateRow])

    def take(self, batch: RowBatch | None) -> None:
        """Counts rows in."""
        for one in batch_to_records(batch) if batch is not None else ():
            self.rows[Row(one.id, one.key, one.event_time, one.ingested_at, one.origin, one.value.decode())] += 1

    def equal_to(self, other: "Outcome") -> int:
        """How many rows, late ones too, are in both."""
        return (self.rows & other.rows).total() + (self.late & other.late).total()

    @property
    def total(self) -> int:
        return self.rows.total() + self.late.total()


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
    ends = [running.end_of_input(name) for name in plan.inputs]
    for output in (*ends, *(running.caught_up(name, running.newest_arrival()) for name in plan.inputs)):
        assert not output.dead, output.dead
        outcome.take(output.rows)
    return outcome


def differences(here: Outcome, there: Outcome) -> list[str]:
    """What is not in both, in words, the first few of each; empty: they are equal. Rows of one id are shown beside each other."""
    mine, theirs = here.rows - there.rows, there.rows - here.rows
    found = list[str]()
    if mine or theirs:
        found.append(
            f"rows: {here.rows.total()} here, {there.rows.total()} there, {(here.rows & there.rows).total()} equal"
        )
    pairs = [pair for name in _ids(mine, theirs) for pair in zip_longest(_of(mine, name), _of(theirs, name))]
    found += [_difference(one, other) for one, other in pairs[:SHOWN]]
    if len(pairs) > SHOWN:
        found.append(f"and {len(pairs) - SHOWN} more")
    for word, only in (("here", here.late - there.late), ("there", there.late - here.late)):
        if only:
            found.append(f"late only {word}: {only.total()}, such as {sorted(only)[:SHOWN]} (input, offset, by ms)")
    return found


def _ids(*rows: Iterable[Row]) -> list[str]:
    """In order of event time and key."""
    places = {one.id: (one.event_time, one.key) for part in rows for one in part}
    return sorted(places, key=lambda name: (places[name], name))


def _of(rows: "Counter[Row]", name: str) -> list[Row]:
    return sorted(one for one in rows.elements() if one.id == name)


def _difference(here: Row | None, there: Row | None) -> str:
    if here is None or there is None:
        return f"only {'there' if here is None else 'here'}: {here or there}"
    fields = [
        f"{name}: {mine!r} here, {other!r} there"
        for name, mine, other in zip(Row._fields, here, there, strict=True)
        if name != "value" and mine != other
    ]
    values: list[dict[str, Any]] = [msgspec.json.decode(one.value) for one in (here, there)]
    columns = dict.fromkeys([*values[0], *values[1]])
    fields += [
        f"{name}: {values[0].get(name)!r} here, {values[1].get(name)!r} there"
        for name in columns
        if _text(values[0], name) != _text(values[1], name)
    ]
    return f"{here.id} (event time {here.event_time}, key {here.key!r}): {'; '.join(fields)}"


def _text(row: dict[str, Any], name: str) -> str:
    """0.0 and −0.0 are equal to Python."""
    return repr(row.get(name))
