"""Stages in threads, as a role's process runs them, beside the test."""

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from headrace.control.health import failing
from headrace.control.role import StageThreads
from headrace.foundation.clock import SYSTEM_CLOCK
from headrace.log.registry import open_log
from headrace.log.topic_log import TopicLog
from headrace.stages.context import StageContext
from headrace.stages.stage import Condition, read_statuses
from headrace.stages.stage_spec import StageSpec
from headrace.testing.builders import read_all


class Role:
    """One process of a role: its stages, and the log beside them."""

    def __init__(self, state: Path, holder: str = "house") -> None:
        self._file = state / "log.sqlite"
        self.log: TopicLog = open_log(state)
        self.fenced: list[bool] = []
        self._beside: TopicLog = open_log(state)
        self.threads = StageThreads(StageContext(self._beside, holder, state), lambda: self.fenced.append(True))

    def take(self, specs: Sequence[StageSpec]) -> None:
        self.threads.take(specs)

    def events(self, name: str, namespace: str = "default") -> int:
        """Rows of a connector."""
        topic = f"{namespace}.{name}.events"
        return len(read_all(self.log, topic)) if topic in {info.spec.name for info in self.log.topics()} else 0

    def health(self, resource: str, stage: str) -> Condition | None:
        """What the thread of a stage says; None: nothing yet."""
        said = [
            one
            for status in read_statuses(self.log)
            if (status.resource, status.stage) == (resource, f"{stage}-health")
            for one in status.conditions
        ]
        return said[0] if said else None

    def failing(self, specs: Sequence[StageSpec]) -> list[str]:
        return [one.spec.name for one in failing(self.log, specs, 0)]

    def openings(self) -> dict[str, int]:
        """How often each stage was opened: each opening takes the stage's lease."""
        database = sqlite3.connect(self._file)
        try:
            return dict(database.execute("SELECT role, epoch FROM leases"))
        finally:
            database.close()

    def close(self) -> int:
        code = self.threads.stop()
        self._beside.close()
        self.log.close()
        return code


def eventually(what: Callable[[], Any], seconds: float = 60) -> Any:
    """Waits for a thread or a process."""
    deadline = SYSTEM_CLOCK.monotonic() + seconds
    while not (found := what()):
        assert SYSTEM_CLOCK.monotonic() < deadline, "it did not happen in time"
        SYSTEM_CLOCK.sleep(0.02)
    return found
