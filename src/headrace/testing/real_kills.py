"""Real kills: `headrace run` in a session of its own, ended by SIGKILL to the whole process group when the log has come so far."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from headrace.foundation.clock import SYSTEM_CLOCK
from headrace.foundation.parent import die_with_parent
from headrace.log.topic_log import TopicLog

POLL_SECONDS = 0.005
WHOLE = ("-c", "from headrace.doors.cli import main; main()")
LIGHT = ("-m", "headrace.testing.light_roles")
"""`headrace` as it is, and with trainers that learn with the light learner: what Python is given."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Chosen by progress, never by the clock: a topic holds at least so many records."""

    topic: str
    records: int

    def has_come(self, log: TopicLog) -> bool:
        return any(info.spec.name == self.topic and info.end_offset >= self.records for info in log.topics())


class WholeRun:
    """`headrace run -f FILE --until-idle` with all its roles, as a process group."""

    def __init__(
        self, file: Path, state: Path, *, environ: Mapping[str, str], words: Path, program: Sequence[str] = WHOLE
    ) -> None:
        """`words`: where its standard output and error go, at the end of what is there."""
        options = ["--state", str(state), "--until-idle", "-o", "json", "--port", "0", "--no-live"]
        with words.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, *program, "run", "-f", str(file), *options],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                env={**os.environ, **environ}, start_new_session=True,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - one call, loaded before
            )  # fmt: skip

    @property
    def pid(self) -> int:
        """The supervisor's process."""
        return self._process.pid

    def alive(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def kill_at(self, moment: Moment, log: TopicLog, *, timeout_seconds: float) -> bool:
        """Waits for the moment and kills the group. False: it had ended by itself before. TimeoutError: neither came."""
        deadline = SYSTEM_CLOCK.monotonic() + timeout_seconds
        while SYSTEM_CLOCK.monotonic() < deadline:
            if moment.has_come(log):
                self.kill()
                return True
            if self._process.poll() is not None:
                return False
            SYSTEM_CLOCK.sleep(POLL_SECONDS)
        self.kill()
        raise TimeoutError(f"{moment} did not come in {timeout_seconds:.0f} s")

    def kill(self) -> None:
        """SIGKILL to every process of the group."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def wait(self, *, timeout_seconds: float) -> int:
        """Its exit code; the group is killed where it takes longer."""
        try:
            return self._process.wait(timeout=timeout_seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
