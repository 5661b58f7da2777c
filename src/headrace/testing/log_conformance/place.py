"""Where the conformance suite finds a log."""

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import ClassVar

import pytest

from headrace.foundation.clock import SYSTEM_CLOCK, Clock
from headrace.log.registry import open_log as open_by_name
from headrace.log.topic_log import TopicLog, TopicSpec
from headrace.testing.clock import VirtualClock

OpenLog = Callable[..., TopicLog]
"""`open_log(clock=…)` opens the log of the test's state directory, once more at every call; all are closed at the end."""


class LogPlace:
    """The fixtures and hooks of the suite."""

    technology: ClassVar[str]

    def options(self, state: Path) -> dict[str, str]:  # noqa: ARG002 - a hook
        """Hook: the technology's own options for the log of a state directory, in this process and in children."""
        return {}

    def disk_usage(self, state: Path) -> int | None:  # noqa: ARG002 - a hook
        """Hook: bytes that the log takes on disk. None: unknown, and giving space back is not tested."""
        return None

    def full_disk(self, log: TopicLog) -> AbstractContextManager[None] | None:  # noqa: ARG002 - a hook
        """Hook: while it lasts, the log finds no more room. None: not tested."""
        return None

    def open_at(self, state: Path, clock: Clock = SYSTEM_CLOCK) -> TopicLog:
        """The log of a state directory."""
        return open_by_name(state, technology=self.technology, options=self.options(state), clock=clock)

    @pytest.fixture
    def clock(self) -> VirtualClock:
        return VirtualClock()

    @pytest.fixture
    def state(self, tmp_path: Path) -> Path:
        return tmp_path / "state"

    @pytest.fixture
    def open_log(self, state: Path) -> Generator[OpenLog]:
        opened: list[TopicLog] = []

        def open_once_more(clock: Clock = SYSTEM_CLOCK) -> TopicLog:
            opened.append(self.open_at(state, clock))
            return opened[-1]

        yield open_once_more
        for log in opened:
            log.close()

    @pytest.fixture
    def log(self, open_log: OpenLog, clock: VirtualClock) -> TopicLog:
        log = open_log(clock)
        log.ensure_topic(TopicSpec("ns.a"))
        return log
