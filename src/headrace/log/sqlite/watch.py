"""Notices commits by any process."""

import threading

from headrace.foundation.clock import Clock
from headrace.foundation.errors import FinalError
from headrace.log.sqlite.database import Database

_FIRST_PAUSE_SECONDS = 0.001
_LONGEST_PAUSE_SECONDS = 0.005


class CommitWatch:
    """Polls SQLite's `data_version` every few milliseconds; a connection sees it change whenever another connection has committed."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._lock = threading.Lock()
        self._threads = threading.local()
        self._commits_seen = 0
        self._closed = False
        with database.file.translated():
            # It never writes, so that it also notices this process's own commits.
            self._connection = database.connect()
            self._version = self._data_version()

    def wait(self, timeout_seconds: float) -> bool:
        """True once any process has committed since this thread's last call; the first call counts from the opening of the log."""
        deadline = self._clock.monotonic() + timeout_seconds
        pause = _FIRST_PAUSE_SECONDS
        while True:
            commits = self._count()
            if commits != getattr(self._threads, "commits", 0):
                self._threads.commits = commits
                return True
            left = deadline - self._clock.monotonic()
            if left <= 0:
                return False
            self._clock.sleep(min(pause, left))
            pause = min(pause * 1.5, _LONGEST_PAUSE_SECONDS)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._connection.close()

    def _count(self) -> int:
        """A number that changes with every commit."""
        with self._lock, self._database.file.translated():
            if self._closed:
                raise FinalError("the log is closed", where=str(self._database.path))
            version = self._data_version()
            if version != self._version:
                self._version = version
                self._commits_seen += 1
            return self._commits_seen

    def _data_version(self) -> int:
        return self._connection.execute("PRAGMA data_version").fetchone()[0]
