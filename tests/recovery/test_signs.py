"""The stream's own signs, idle and end, are written once, whatever is killed when."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headrace.events import codec, topics
from headrace.events.control import Control
from headrace.log.registry import open_log
from headrace.log.topic_log import TopicLog
from headrace.stages.ingest.options import IngestOptions
from headrace.stages.ingest.stage import IngestStage
from headrace.testing.builders import read_all
from headrace.testing.clock import VirtualClock
from headrace.testing.failpoints import Kill, Killed, killing
from headrace.testing.pipeline import Pipeline, declared, differences, snapshot
from headrace.testing.resource_ids import connector_id


def signs(log: TopicLog) -> list[str]:
    records = read_all(log, topics.events(connector_id("questions")))
    return [codec.decode(record, Control).sign for record in records if record.kind == codec.CONTROL]


def run_to_death(dead: Pipeline) -> None:
    dead.open()
    dead.run()


@pytest.mark.parametrize("side", ["before", "after"])
def test_a_source_that_falls_silent_is_idle_once(side: str, scenario: Callable[[str], Any], tmp_path: Path):
    folder, clock = tmp_path / "job", VirtualClock()
    scenario("chain").copy(folder)
    text = (folder / "job.yaml").read_text("utf-8")
    (folder / "job.yaml").write_text(
        text.replace("questions.jsonl, format: json", "questions.jsonl, format: json, follow: true")
    )
    found = declared(folder / "job.yaml", folder / "state")
    log = open_log(folder / "state")

    def silent(stage: IngestStage) -> None:
        for _ in range(40):
            stage.step()
        clock.advance(31)
        for _ in range(3):
            stage.step()

    with killing(Kill(f"ingest.idle.{side}", 1)) as kill, pytest.raises(Killed):
        silent(IngestStage(found.options(IngestOptions)[0], log, "one", clock))
    assert kill.struck
    silent(IngestStage(found.options(IngestOptions)[0], log, "two", clock))
    silent(IngestStage(found.options(IngestOptions)[0], log, "three", clock))
    assert signs(log) == ["idle"]
    with (folder / "questions.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"id": "new", "event_time": "2024-01-01T00:10:00Z", "text": "my card", "team": "cards"}\n')
    silent(IngestStage(found.options(IngestOptions)[0], log, "four", clock))
    assert signs(log) == ["idle", "idle"]
    log.close()


@pytest.mark.parametrize("side", ["before", "after"])
def test_a_run_after_the_end_sees_the_end_again_and_writes_nothing(
    side: str, scenario: Callable[[str], Any], tmp_path: Path
):
    known, folder = scenario("windows"), tmp_path / "job"
    found = known.copy(folder)
    with known.pipeline(found, folder) as first:
        first.run()
    dead = known.pipeline(found, folder, holder="two")
    try:
        with killing(Kill(f"ingest.confirm.{side}", 1)) as kill, pytest.raises(Killed):
            run_to_death(dead)
        assert kill.struck
        with known.pipeline(found, folder, holder="three") as last:
            last.run()
            assert last.idle
        assert differences(snapshot(found, folder / "state"), known.undisturbed) == []
    finally:
        dead.close()
