"""Made-up events: the same for the same seed, at the rate that was asked for."""

import numpy as np
import pytest
from pydantic import ValidationError

from headrace.connectors.generator.fields import column
from headrace.connectors.generator.options import Options, WalkField
from headrace.connectors.registry import open_source
from headrace.connectors.source import EventTime, Source, SourceContext, SourceOptions
from headrace.events.schema import Column, RowSchema
from headrace.testing.clock import VirtualClock
from headrace.testing.resource_ids import connector_id

FIELDS = [
    {"name": "id", "kind": "sequence", "start": 10, "step": 2},
    {"name": "u", "kind": "uniform", "low": 5, "high": 7},
    {"name": "w", "kind": "uniform", "low": 1, "high": 3, "whole": True},
    {"name": "z", "kind": "normal", "mean": 100, "deviation": 2},
    {"name": "c", "kind": "choice", "values": ["a", "b"], "weights": [3, 1]},
    {"name": "p", "kind": "walk", "start": 50, "step": 0.5},
    {"name": "t", "kind": "timestamp", "start": "2024-01-01T00:00:00Z", "interval": "10ms"},
]


def make(clock: VirtualClock | None = None, schema: RowSchema | None = None, **block: object) -> Source:
    options = SourceOptions(connector_id("made"), "generator", {"fields": FIELDS, **block}, schema=schema)
    return open_source(options, SourceContext(clock=clock or VirtualClock()))


def values(source: Source, rows: int) -> dict[str, list[object]]:
    source.open(None)
    batch = source.poll(rows, 0)
    assert batch.rows is not None
    return batch.rows.table.to_pydict()


def test_values_follow_their_declaration() -> None:
    found = values(make(seed=1), 20_000)
    assert found["id"][:3] == [10, 12, 14]
    assert 5 <= min(found["u"]) < 5.01
    assert 6.99 < max(found["u"]) < 7
    assert sorted(set(found["w"])) == [1, 2, 3]
    assert np.mean(found["z"]) == pytest.approx(100, abs=0.1)
    assert np.std(found["z"]) == pytest.approx(2, abs=0.05)
    assert found["c"].count("a") / 20_000 == pytest.approx(0.75, abs=0.02)
    steps = np.diff(np.array(found["p"], dtype=float))
    assert found["p"][0] == 50
    assert np.std(steps) == pytest.approx(0.5, rel=0.03)
    assert abs(np.corrcoef(steps[1:], steps[:-1])[0, 1]) < 0.03
    assert found["t"][100].isoformat() == "2024-01-01T00:00:01+00:00"


def test_a_seed_gives_its_rows_and_another_one_others() -> None:
    assert values(make(seed=1), 50) == values(make(seed=1), 50)
    assert values(make(seed=1), 50)["u"] != values(make(seed=2), 50)["u"]


def test_a_row_far_away_is_found_without_the_ones_before_it() -> None:
    walk = WalkField(name="p", kind="walk")
    far = np.arange(10**9, 10**9 + 2000)
    alone = [column(walk, 7, far[place : place + 1])[0].as_py() for place in (0, 1, 1999)]
    together = column(walk, 7, far).to_pylist()
    assert alone == [together[0], together[1], together[1999]]
    assert np.std(np.diff(together)) == pytest.approx(1, rel=0.1)


def test_the_rate_is_kept_by_the_clock() -> None:
    clock = VirtualClock()
    source = make(clock, rate=10, count=25)
    source.open(None)
    given: list[tuple[float, int]] = []
    start = clock.monotonic()
    while not (batch := source.poll(100, 0.5)).end:
        given.append((round(clock.monotonic() - start, 2), batch.rows.num_rows if batch.rows else 0))
    assert given[0] == (0.0, 1)
    assert given[1] == (0.1, 1)
    assert clock.monotonic() - start == pytest.approx(2.4, abs=0.01)
    clock.advance(100)
    assert source.lag() == 0


def test_without_a_due_row_a_poll_waits_no_longer_than_it_was_told() -> None:
    clock = VirtualClock()
    source = make(clock, rate=0.1)
    source.open(None)
    source.poll(1, 0)
    before = clock.monotonic()
    batch = source.poll(1, 2)
    assert batch.waiting
    assert clock.monotonic() - before == pytest.approx(2)


def test_a_declared_schema_types_the_rows() -> None:
    schema = RowSchema((Column("id", "STRING"), Column("u", "DECIMAL(5, 1)")))
    found = values(make(schema=schema, seed=1), 3)
    assert found["id"] == ["10", "12", "14"]
    assert str(found["u"][0])[-2] == "."


def test_event_time_is_a_field() -> None:
    options = SourceOptions(
        connector_id("made"), "generator", {"fields": FIELDS}, event_time=EventTime("t", historical=True)
    )
    source = open_source(options, SourceContext(clock=VirtualClock()))
    source.open(None)
    batch = source.poll(2, 0)
    assert batch.rows is not None
    assert batch.rows.event_times.to_pylist() == [1_704_067_200_000, 1_704_067_200_010]


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [{"name": "a", "kind": "sequence"}, {"name": "a", "kind": "sequence"}],
        [{"name": "a", "kind": "dice"}],
        [{"name": "a", "kind": "choice", "values": ["x"], "weights": [1, 2]}],
        [{"name": "a", "kind": "uniform", "low": 2, "high": 1}],
        [{"name": "a", "kind": "timestamp", "start": "2024-01-01T00:00:00"}],
        [{"name": "a", "kind": "timestamp", "interval": "soon"}],
    ],
)
def test_fields_that_make_no_sense_are_refused(fields: list[dict[str, object]]) -> None:
    with pytest.raises(ValidationError):
        Options.model_validate({"fields": fields})
