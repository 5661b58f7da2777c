"""One writer at a time across all processes, in fair order.

SQLite has its own lock, but a process waiting for it sleeps and polls, so a busy writer can starve the others.
Here a waiting process sleeps in the kernel until it is woken, and a busy writer queues behind it. Writes, checkpoints and
closing the file all take turns, so no two connections ever write or checkpoint at the same time.
"""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from headrace.foundation.sqlite import make_directory_private


class WriteTurn:
    """A lock that one thread of one process holds at a time. Do not share it between threads: they would share its descriptors.

    Two locks: a writer waits for the head of the queue, then for the turn, then releases the head. A writer that has
    just finished finds the head taken by one that was waiting. The kernel releases both locks when the process ends.
    """

    def __init__(self, state: Path) -> None:
        make_directory_private(state)
        self._queue = _open(state / "log.queue.lock")
        self._turn = _open(state / "log.turn.lock")

    def __enter__(self) -> Self:
        fcntl.flock(self._queue, fcntl.LOCK_EX)
        try:
            fcntl.flock(self._turn, fcntl.LOCK_EX)
        finally:
            fcntl.flock(self._queue, fcntl.LOCK_UN)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        fcntl.flock(self._turn, fcntl.LOCK_UN)

    def close(self) -> None:
        os.close(self._queue)
        os.close(self._turn)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
