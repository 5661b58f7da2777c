"""A stage's thread outlives an outage wherever it meets it, and never ends unnoticed."""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from headrace.control.stage_thread import StageThread
from headrace.foundation.errors import UnavailableError
from headrace.log.registry import open_log
from headrace.log.topic_log import TopicLog

WAIT_SECONDS = 60


class Steps:
    """A stage that finds no work, and does something at each step."""

    name = "steps"

    def __init__(self, act: Callable[[int], None]) -> None:
        self._act, self.count, self.opened = act, 0, 0

    def open(self) -> "Steps":
        self.opened += 1
        return self

    def step(self) -> bool:
        self.count += 1
        self._act(self.count)
        return False

    def close(self) -> None:
        """Nothing is held."""


class OutageWhileWaiting:
    """A log whose server is away at the first waits."""

    def __init__(self, log: TopicLog, outages: int) -> None:
        self._log, self._left = log, outages

    def wait(self, timeout_seconds: float) -> bool:
        self._left -= 1
        if self._left >= 0:
            raise UnavailableError("the broker is away", retry_after_seconds=0.001)
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[TopicLog]:
    with closing(open_log(tmp_path / "state")) as log:
        yield log


def test_an_outage_between_two_steps_does_not_end_the_thread_or_reopen_the_stage(log: TopicLog):
    reached = threading.Event()
    stage = Steps(lambda count: reached.set() if count == 5 else None)
    thread = StageThread(stage.open, OutageWhileWaiting(log, outages=3), on_end=reached.set)  # type: ignore[arg-type]
    thread.start()
    assert reached.wait(WAIT_SECONDS)
    assert thread.is_alive()
    thread.stop(WAIT_SECONDS)
    assert (thread.exit_code, stage.opened) == (0, 1)
    assert stage.count >= 5


def test_a_thread_that_ends_unasked_ends_its_process(log: TopicLog, capsys: pytest.CaptureFixture[str]):
    def leave(_: int) -> None:
        raise SystemExit(3)

    ended = threading.Event()
    thread = StageThread(Steps(leave).open, log, on_end=ended.set)
    thread.start()
    assert ended.wait(WAIT_SECONDS)
    thread.stop(WAIT_SECONDS)
    assert thread.exit_code == 1
    assert "SystemExit: 3" in capsys.readouterr().err
