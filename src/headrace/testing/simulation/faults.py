"""What goes wrong with the stages: a kill between two steps or at a commit, a full disk."""

import errno
import sqlite3
from collections.abc import Generator
from contextlib import ExitStack, contextmanager

from headrace.foundation import failpoints

WITHIN_COMMITS = ("log.commit.within", "teacher.commit.within")
FOLDER = "store.put.before"


@contextmanager
def disk_full(writes: int) -> Generator[None]:
    """The next `writes` writes fail for want of room, as far as they come while the context lasts: transactions of the log and of the
    teachers' answers, and folders of checkpoints and versions.
    """
    left = writes

    def fail(error: Exception) -> None:
        nonlocal left
        if left:
            left -= 1
            raise error

    with ExitStack() as stack:
        for name in WITHIN_COMMITS:
            stack.enter_context(failpoints.armed(name, lambda: fail(_full_database())))
        stack.enter_context(failpoints.armed(FOLDER, lambda: fail(OSError(errno.ENOSPC, "No space left on device"))))
        yield


def _full_database() -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    return error
