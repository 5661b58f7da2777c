"""One writer at a time, over all processes, in fair order.

SQLite has a lock of its own, but a process that waits for it sleeps and asks again, so that a busy writer can starve the others.
Here a waiting process sleeps in the kernel until it is woken, and a busy writer queues behind it. Writes, checkpoints and the
closing of the file all take their turn, so no two connections ever write or checkpoint at the same time.
"""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from headrace.foundation.sqlite import make_directory_private


class WriteTurn:
    """A context that one thread of one process holds at a time. Not for several threads at once: they share its descriptors.

    Two locks: a writer waits for the place at the head of the queue, then for the turn, then gives the place up. A writer that has
    just ended its turn finds the place taken by one that waited. The kernel drops both locks with the process.
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
