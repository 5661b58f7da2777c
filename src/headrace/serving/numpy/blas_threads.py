"""How many threads a matrix product may use: whichever was faster recently.

BLAS threads synchronise at every product. On an idle machine a second one pays off from a few rows on; with a
trainer on the same cores each wait costs a time slice, and a step takes ten times as long as on one thread. Which case
applies changes while the process runs, so it is measured: every task is timed, and the slower choice is retried
from time to time, the less often the slower it was.
"""

from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController

from headrace.foundation.clock import SYSTEM_CLOCK, Clock

MANY_ROWS = 8
"""Below this, one thread is always as fast: the work is reading the weights once."""
_FIRST_RETRY, _LAST_RETRY = 16, 4096
"""Tasks until the slower choice is retried."""
_SMOOTHING = 0.3


class ThreadChoice:
    """Picks between one thread and many by seconds per row."""

    def __init__(self, many: int, clock: Clock = SYSTEM_CLOCK) -> None:
        self._many = many
        self._clock = clock
        self._seconds: dict[int, float] = {}
        """Smoothed seconds per row, by threads."""
        self._works = 0
        self._retry_at = _FIRST_RETRY
        self._retry_after = _FIRST_RETRY

    def pick(self, rows: int) -> int:
        """Threads for the next task."""
        if rows < MANY_ROWS or self._many == 1:
            return 1
        self._works += 1
        for threads in (self._many, 1):
            if threads not in self._seconds:
                return threads
        faster = min(self._seconds, key=self._seconds.__getitem__)
        if self._works < self._retry_at:
            return faster
        slower = self._many if faster == 1 else 1
        clearly = self._seconds[slower] > 1.5 * self._seconds[faster]
        self._retry_after = min(2 * self._retry_after, _LAST_RETRY) if clearly else _FIRST_RETRY
        self._retry_at = self._works + self._retry_after
        return slower

    def learn(self, rows: int, threads: int, seconds: float) -> None:
        """Records how long a task took."""
        if rows < MANY_ROWS:
            return
        sample = seconds / rows
        before = min(self._seconds.get(threads, sample), sample)  # a better time shows that an older one is outdated
        self._seconds[threads] = before + _SMOOTHING * (sample - before)

    @contextmanager
    def work(self, rows: int) -> Generator[None]:
        """Limits BLAS to the threads picked for `rows` rows, times the work, and restores the limit."""
        threads = self.pick(rows)
        libraries = _libraries() if threads < self._many else []
        for library in libraries:
            library.set_num_threads(threads)
        began = self._clock.monotonic()
        try:
            yield
        finally:
            self.learn(rows, threads, self._clock.monotonic() - began)
            for library in libraries:
                library.set_num_threads(self._many)


@cache
def process_choice() -> ThreadChoice:
    """The process-wide instance: BLAS has one setting for all its callers."""
    return ThreadChoice(max((library.num_threads for library in _libraries()), default=1))


@cache
def _libraries() -> list[Any]:
    """The BLAS libraries loaded in this process."""
    return [library for library in ThreadpoolController().lib_controllers if library.user_api == "blas"]
