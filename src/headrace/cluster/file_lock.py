"""One process at a time: a file lock, which the kernel releases when its holder dies."""

import fcntl
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from headrace.foundation.clock import SYSTEM_CLOCK, Clock
from headrace.foundation.errors import BusyError


@contextmanager
def file_lock(
    path: Path,
    *,
    patience_seconds: float,
    waiting: Callable[[], None] = lambda: None,
    clock: Clock = SYSTEM_CLOCK,
) -> Generator[None]:
    """Holds the lock. `waiting` is called once if another process holds it; BusyError if that process keeps it beyond the timeout."""
    deadline, told = clock.monotonic() + patience_seconds, False
    with path.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not told:
                    told = True
                    waiting()
                if clock.monotonic() > deadline:
                    raise BusyError(
                        f"another process holds {path}", next_step="wait for it to finish or end it, then try again"
                    ) from None
                clock.sleep(0.1)
        yield
