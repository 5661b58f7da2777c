"""A stage in a thread of its own: stepped, reopened after errors, reported on. The stage is the unit of failure.

A retryable error reopens the stage from its last commit. A final error becomes a condition on the stage's resource (reason,
message, next step), and the stage is retried with back-off while every other stage keeps running. Only a fenced stage ends its
process, because another process runs it now.
"""

import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import nullcontext

from headrace.control.at_work import AtWork
from headrace.foundation.errors import FencedError, HeadraceError, RetryableError
from headrace.log.topic_log import TopicLog
from headrace.stages.stage import Condition, Reporting, Stage, StageReporter

WAIT_SECONDS = 0.2
RETRY_SECONDS = 1.0
BACKOFF_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
HEALTH = "Healthy"
"""The condition's type."""


class ReopenedStage:
    """A stage that is reopened from its last commit after a retryable error.

    What it had read but not committed, a source's rows or a query's half-made windows, is read again, so a full disk loses no more
    than a kill does. Opening takes the lease. If another process had replaced this stage, the reopened stage fences it, and that
    process fences this one when it restarts.
    """

    def __init__(self, opener: Callable[[], Stage]) -> None:
        self._opener = opener
        self._stage: Stage | None = None
        self.name = ""

    def open(self) -> None:
        """Opens it; errors are the stage's own."""
        self._stage = self._opener()
        self.name = self._stage.name

    def step(self) -> bool:
        """One step. After an error, which it raises, the next step opens the stage first."""
        if self._stage is None:
            self.open()
            assert self._stage is not None
        try:
            return self._stage.step()
        except Exception:
            self.close()
            raise

    def say_last(self) -> None:
        """Writes its last report; nothing if it has just failed."""
        if isinstance(self._stage, Reporting):
            self._stage.say_last()

    def close(self) -> None:
        stage, self._stage = self._stage, None
        if stage is not None:
            stage.close()


class StageThread(threading.Thread):
    """Steps one stage until asked to stop, or until it is fenced. It never ends unnoticed: `on_end` is called."""

    def __init__(
        self,
        opener: Callable[[], Stage],
        log: TopicLog,
        on_end: Callable[[], None],
        reporter: StageReporter | None = None,
        at_work: AtWork | None = None,
    ) -> None:
        """`opener` is called in the thread itself. `on_end`: called if the thread ends unasked; its process must end too.

        `reporter`: where its health is written; None: on standard error alone.
        `at_work`: shows, after the process died, that it died within a step.
        """
        super().__init__(daemon=True)
        self._at_work = at_work
        self._opener, self._log, self._on_end, self._reporter = opener, log, on_end, reporter
        self._ending = threading.Event()
        self._last_error = ""
        self._failures = 0
        """Final errors in a row."""
        self._told = False
        """Whether its resource's condition reports a failure."""
        self.exit_code = 0

    def run(self) -> None:
        stage = ReopenedStage(self._opener)
        try:
            while not self._ending.is_set():
                self._turn(stage)
            self._say_last(stage)
        except FencedError as error:
            _say(f"error: {error}")
            self.exit_code = error.exit_code
            self._on_end()
        except BaseException:  # noqa: BLE001 - whatever it was, the process must not run on without this stage
            _say(f"error: {stage.name or 'a stage'} ended:\n{traceback.format_exc()}")
            self.exit_code = 1
            self._on_end()
        finally:
            self._close(stage)
            if self._at_work:
                self._at_work.close()

    def ask_to_end(self) -> None:
        """It stops after its current step."""
        self._ending.set()

    def stop(self, timeout_seconds: float = 10.0) -> None:
        """Asks it to end, and waits."""
        self.ask_to_end()
        self.join(timeout_seconds)

    def _turn(self, stage: ReopenedStage) -> None:
        """One step, or the wait after a step without work, and the reaction to its outcome. Raises FencedError."""
        try:
            with self._at_work or nullcontext():
                worked = stage.step()
            if not worked:
                self._log.wait(WAIT_SECONDS)
            self._recovered()
        except FencedError:
            raise
        except RetryableError as error:
            self._put_off(stage, error)
        except HeadraceError as error:
            self._failed(stage, type(error).__name__.removesuffix("Error"), str(error), error.exit_code)
        except Exception as error:  # noqa: BLE001 - no fault of one stage may stop the others
            self._failed(stage, "InternalError", f"{type(error).__name__}: {error}", 1)

    def _put_off(self, stage: ReopenedStage, error: RetryableError) -> None:
        if str(error) != self._last_error:
            _say(f"{stage.name or 'a stage that could not be opened yet'}: {error}; retrying")
        self._last_error = str(error)
        self._ending.wait(error.retry_after_seconds or RETRY_SECONDS)

    def _failed(self, stage: ReopenedStage, reason: str, message: str, exit_code: int) -> None:
        pause = BACKOFF_SECONDS[min(self._failures, len(BACKOFF_SECONDS) - 1)]
        self._failures += 1
        if message != self._last_error:
            _say(f"error: {stage.name or 'a stage that could not be opened'}: {message}")
            _say(traceback.format_exc())
        self._last_error = message
        self._told = self._report(
            Condition(HEALTH, "False", reason, f"{message} (attempt {self._failures}; next in {pause:g} s)"),
            exit_code,
        )
        self._ending.wait(pause)

    def _recovered(self) -> None:
        """After a successful turn. Also replaces the report of an earlier process."""
        self._failures, self._last_error = 0, ""
        if self._told or (self._reporter is not None and self._reporter.said_false):
            self._told = not self._report(Condition(HEALTH, "True", "Running"), 0)

    def _report(self, condition: Condition, exit_code: int) -> bool:
        """Whether it was written, or there is nowhere to write it."""
        if self._reporter is None:
            return True
        try:
            self._reporter.say(condition, progress={"failures": self._failures, "exitCode": exit_code}, now=True)
        except RetryableError as error:
            _say(f"the condition could not be written: {error}")
            return False
        return True

    def _say_last(self, stage: ReopenedStage) -> None:
        try:
            stage.say_last()
        except RetryableError as error:
            _say(f"{stage.name}: the last report could not be written: {error}")

    def _close(self, stage: ReopenedStage) -> None:
        try:
            stage.close()
        except Exception as error:  # noqa: BLE001 - the thread ends; what could not be closed ends with its process
            _say(f"error: {stage.name} failed to close: {type(error).__name__}: {error}")
            self.exit_code = self.exit_code or 1


def _say(text: str) -> None:
    sys.stderr.write(text.rstrip("\n") + "\n")
    sys.stderr.flush()
