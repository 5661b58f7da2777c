"""What goes wrong with the stages: a kill between two steps or at a commit, a full disk."""

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager

from headrace.foundation import failpoints

WITHIN_A_COMMIT = "log.commit.within"


@contextmanager
def disk_full(writes: int) -> Generator[None]:
    """The next `writes` transactions of the log fail for want of room, as far as they come while the context lasts."""
    left = writes

    def fail() -> None:
        nonlocal left
        if left:
            left -= 1
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error

    with failpoints.armed(WITHIN_A_COMMIT, fail):
        yield
