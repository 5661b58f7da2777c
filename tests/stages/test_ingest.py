"""ingest over a followed file: how often it commits."""

from collections.abc import Generator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from headrace.connectors.source import EventTime, SourceOptions
from headrace.events import topics
from headrace.events.schema import Column, RowSchema
from headrace.log.registry import open_log
from headrace.log.topic_log import Commit, CommitResult, TopicLog
from headrace.stages.ingest.options import IngestOptions
from headrace.stages.ingest.stage import FEW_ROWS, IngestStage
from headrace.testing.clock import VirtualClock
from headrace.testing.resource_ids import connector_id

PAUSE_SECONDS = 7.0
"""Long, so that it stands out from the time in which the source looks at its file again."""


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def log(tmp_path: Path) -> Generator[TopicLog]:
    found = open_log(tmp_path / "state")
    yield found
    found.close()


@pytest.fixture
def moments(log: TopicLog, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When rows were committed, seconds."""
    found: list[float] = []
    commit = log.commit

    def watched(one: Commit) -> CommitResult:
        if any(append.topic == topics.events(connector_id("trades")) for append in one.appends):
            found.append(clock.monotonic())
        return commit(one)

    monkeypatch.setattr(log, "commit", watched)
    return found


def pausing(log: TopicLog, monkeypatch: pytest.MonkeyPatch) -> None:
    capabilities = replace(log.capabilities, pause_seconds=PAUSE_SECONDS)
    monkeypatch.setattr(type(log), "capabilities", property(lambda _: capabilities))


def ingest(file: Path, log: TopicLog, clock: VirtualClock) -> IngestStage:
    schema = RowSchema((Column("event_time", "TIMESTAMP_LTZ(3)"), Column("price", "BIGINT")))
    time = EventTime("event_time", historical=True)
    given = {"path": file.name, "format": "json", "follow": True}
    options = SourceOptions(connector_id("trades"), "file", given, schema=schema, event_time=time, base_dir=file.parent)
    return IngestStage(IngestOptions(options), log, "test", clock)


def write(file: Path, count: int) -> None:
    with file.open("a", encoding="utf-8") as lines:
        lines.writelines(f'{{"event_time": "1970-01-01T00:00:01Z", "price": {n}}}\n' for n in range(count))


def pauses(moments: list[float]) -> list[bool]:
    """Between each commit and the next: whether the pause was made."""
    return [later - earlier >= PAUSE_SECONDS for earlier, later in pairwise(moments)]


def commits(file: Path, stage: IngestStage, moments: list[float], *counts: int) -> None:
    for number, count in enumerate(counts, 1):
        write(file, count)
        while len(moments) < number:
            stage.step()
    stage.close()


def test_few_rows_are_followed_by_the_pause_that_the_log_asks_for(
    tmp_path: Path, log: TopicLog, clock: VirtualClock, moments: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    pausing(log, monkeypatch)
    commits(tmp_path / "t.jsonl", ingest(tmp_path / "t.jsonl", log, clock), moments, 1, 1, FEW_ROWS - 1, 1)
    assert pauses(moments) == [True, True, True]


def test_many_rows_are_not(
    tmp_path: Path, log: TopicLog, clock: VirtualClock, moments: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    pausing(log, monkeypatch)
    commits(tmp_path / "t.jsonl", ingest(tmp_path / "t.jsonl", log, clock), moments, FEW_ROWS, FEW_ROWS, 1)
    assert pauses(moments) == [False, False]


def test_a_log_on_this_machine_asks_for_none(
    tmp_path: Path, log: TopicLog, clock: VirtualClock, moments: list[float]
) -> None:
    commits(tmp_path / "t.jsonl", ingest(tmp_path / "t.jsonl", log, clock), moments, 1, 1, 1)
    assert pauses(moments) == [False, False]
