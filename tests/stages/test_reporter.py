"""What a stage says of itself is shown to the end, also where nothing follows, and never over what its successor says."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from headrace.control.stage_thread import ReopenedStage
from headrace.events import topics
from headrace.log.registry import open_log
from headrace.log.topic_log import TopicLog
from headrace.stages.prompt.options import PromptOptions, PromptTemplate
from headrace.stages.prompt.stage import PromptStage
from headrace.stages.stage import PAUSE_SECONDS, Condition, StageReporter, read_statuses
from headrace.testing.builders import append, new_records
from headrace.testing.clock import VirtualClock

OPTIONS = PromptOptions("default", "desk", (PromptTemplate("{text}"),))
RUNNING = Condition("Prompting", "True", "Running")


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def log(tmp_path: Path, clock: VirtualClock) -> Iterator[TopicLog]:
    with closing(open_log(tmp_path, clock=clock)) as opened:
        yield opened


@pytest.fixture
def reporter(log: TopicLog, clock: VirtualClock) -> StageReporter:
    return StageReporter(log, "StreamFinetuner/default/desk", "prompt", clock)


def shown(log: TopicLog) -> int | float | str:
    [status] = read_statuses(log)
    return status.progress["rows"]


def test_the_last_figures_are_written_once_the_pause_is_over(
    reporter: StageReporter, log: TopicLog, clock: VirtualClock
) -> None:
    for rows in (1, 2, 3):
        reporter.say(RUNNING, progress={"rows": rows})
        reporter.flush()
        assert shown(log) == 1
    clock.advance(PAUSE_SECONDS)
    reporter.flush()
    assert shown(log) == 3


def test_they_are_written_at_the_end_unless_another_has_taken_the_stage_over(
    reporter: StageReporter, log: TopicLog
) -> None:
    lease = log.acquire_lease("prompt/default.desk", "a")
    reporter.say(RUNNING, progress={"rows": 1})
    reporter.say(RUNNING, progress={"rows": 2})
    reporter.end(lease)
    assert shown(log) == 2
    reporter.say(RUNNING, progress={"rows": 3})
    log.acquire_lease("prompt/default.desk", "b")
    reporter.end(lease)
    assert shown(log) == 2


def test_a_stage_that_has_nothing_more_to_do_shows_all_that_it_did(log: TopicLog, clock: VirtualClock) -> None:
    rows = topics.rows("default", "desk")
    with closing(PromptStage(OPTIONS, log, "test", clock)) as stage:
        for number in range(3):
            append(log, rows, new_records([number], b'{"text":"t"}'))
            assert stage.step()
        clock.advance(PAUSE_SECONDS)
        assert not stage.step()
        [status] = read_statuses(log)
        assert status.progress["sampled"] == 3


def test_a_stage_that_is_told_to_end_shows_all_that_it_did_and_one_that_is_closed_commits_nothing(
    log: TopicLog, clock: VirtualClock
) -> None:
    rows = topics.rows("default", "desk")
    for ends_in_peace, expected in ((False, 1), (True, 4)):
        stage = ReopenedStage(lambda: PromptStage(OPTIONS, log, "test", clock))
        for number in range(2):
            append(log, rows, new_records([f"{ends_in_peace}/{number}"], b'{"text":"t"}'))
            assert stage.step()
        if ends_in_peace:
            stage.say_last()
        stage.close()
        [status] = read_statuses(log)
        assert status.progress["sampled"] == expected
