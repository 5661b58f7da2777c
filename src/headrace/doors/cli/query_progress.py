"""Progress of a running query: a counter on a terminal, the first late rows and dead letters."""

import sys
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Self

from headrace.foundation.clock import SYSTEM_CLOCK, Clock

if TYPE_CHECKING:
    from headrace.events.dead_letter import DeadLetter
    from headrace.log.record import NewRecord
    from headrace.stages.transform.file_query import QueryReport

EVERY_SECONDS = 0.25


class QueryProgress(AbstractContextManager["QueryProgress"]):
    """Writes to stderr alone."""

    def __init__(self, shown: int, clock: Clock = SYSTEM_CLOCK) -> None:
        """`shown`: how many late rows and dead letters to list individually."""
        self._left = {"late": shown, "dead": shown}
        self._clock, self._started, self._last = clock, clock.monotonic(), 0.0
        self._terminal = sys.stderr.isatty()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clear()

    def at(self, report: "QueryReport") -> None:
        """Shows the current progress."""
        now = self._clock.monotonic()
        if self._terminal and now - self._last >= EVERY_SECONDS:
            self._last = now
            rate = report.read / max(now - self._started, 1e-9)
            sys.stderr.write(f"\r\x1b[2K{report.read:,} rows read ({rate:,.0f}/s), {report.rows:,} out")
            sys.stderr.flush()

    def late(self, record: "NewRecord", by_ms: int) -> None:
        self._tell("late", f"{by_ms} ms late: {record.id}")

    def dead(self, letter: "DeadLetter") -> None:
        self._tell("dead", f"dead letter ({letter.code}): {letter.reason}")

    def _tell(self, what: str, text: str) -> None:
        self._left[what] -= 1
        if self._left[what] >= 0:
            self._clear()
            sys.stderr.write(text + "\n")
        elif self._left[what] == -1:
            self._clear()
            sys.stderr.write("… further ones are only counted\n")

    def _clear(self) -> None:
        if self._terminal:
            sys.stderr.write("\r\x1b[2K")
