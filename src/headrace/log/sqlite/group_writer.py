"""Concurrent writes of one process share a transaction and an fsync; each still succeeds or fails on its own."""

import sqlite3
from collections import deque
from collections.abc import Callable
from threading import Lock
from typing import TypeVar, cast

from headrace.foundation.clock import Clock
from headrace.foundation.errors import FinalError, HeadraceError, UnavailableError
from headrace.foundation.failpoints import failpoint
from headrace.log.sqlite.database import Database

Result = TypeVar("Result")
Change = Callable[[sqlite3.Connection, int], Result]
"""A write inside the transaction: receives the connection and the transaction's time, ms since 1970 UTC."""


class _Job:
    """One caller's write and its outcome."""

    def __init__(self, change: Change[object]) -> None:
        self.change = change
        self.result: object = None
        self.error: Exception | None = None
        self.done = False

    def settle(self, result: object, error: Exception | None) -> None:
        self.result, self.error, self.done = result, error, True


class GroupWriter:
    """The first caller to get the lock leads: it writes everything queued. The others find their work done once they get the lock.

    A lone caller pays for two uncontended locks and never waits.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._jobs: deque[_Job] = deque()
        self._leader = Lock()
        self._closed = False
        with database.file.translated(), database.turn:
            self.connection = database.connect(writable=True)

    def write(self, change: Change[Result]) -> Result:
        """Runs `change` in a durable, possibly shared transaction; returns its result or raises its error after the fsync."""
        job = _Job(change)
        self._jobs.append(job)
        with self._leader:
            if not job.done:
                self._lead()
        if job.error is not None:
            raise job.error
        return cast("Result", job.result)

    def outside_transaction(self, action: Callable[[sqlite3.Connection], Result]) -> Result:
        """Runs `action`, such as a checkpoint, while nothing else writes."""
        with self._leader:
            self._check_open()
            with self._database.file.translated(), self._database.turn:
                return action(self.connection)

    def close(self) -> None:
        with self._leader:
            if not self._closed:
                self._closed = True
                with self._database.file.translated(), self._database.turn:
                    self.connection.close()

    def _check_open(self) -> None:
        if self._closed:
            raise FinalError("the log is closed", where=str(self._database.path))

    def _lead(self) -> None:
        jobs = [self._jobs.popleft() for _ in range(len(self._jobs))]
        try:
            self._check_open()
            failpoint("log.commit.before")
            self._write_or_split(jobs)
            failpoint("log.commit.after")
        except BaseException as error:
            lost = error if isinstance(error, FinalError) else UnavailableError("the write was interrupted")
            for job in jobs:
                if not job.done:
                    job.settle(None, lost)
            raise

    def _write_or_split(self, jobs: list[_Job]) -> None:
        """One transaction for all changes; if SQLite refuses it as a whole, one for each."""
        try:
            self._transaction(jobs)
        except (sqlite3.Error, OSError) as error:
            if len(jobs) == 1:
                jobs[0].settle(None, self._translated(error))
                return
            for job in jobs:
                self._write_or_split([job])

    def _transaction(self, jobs: list[_Job]) -> None:
        with self._database.turn:
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                now_ms = self._clock.now_ms()
                outcomes = [self._apply(job, now_ms, alone=len(jobs) == 1) for job in jobs]
                failpoint("log.commit.within")
                self.connection.execute("COMMIT" if any(error is None for _, error in outcomes) else "ROLLBACK")
            except BaseException:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                raise
        for job, (result, error) in zip(jobs, outcomes, strict=True):
            job.settle(result, error)

    def _apply(self, job: _Job, now_ms: int, *, alone: bool) -> tuple[object, Exception | None]:
        """Runs one change. Its own error rolls back only this change; an SQLite error rolls back the whole transaction.

        A lone change needs no savepoint: the transaction is rolled back if nothing in it succeeds.
        """
        if not alone:
            self.connection.execute("SAVEPOINT job")
        try:
            outcome: tuple[object, Exception | None] = (job.change(self.connection, now_ms), None)
        except sqlite3.Error:
            raise
        except (UnicodeError, OverflowError) as error:  # text or numbers that SQLite cannot store
            outcome = (None, self._translated(error))
        except Exception as error:  # noqa: BLE001 - passed to the caller that made the change
            outcome = (None, error)
        if not alone:
            if outcome[1] is not None:
                self.connection.execute("ROLLBACK TO job")
            self.connection.execute("RELEASE job")
        return outcome

    def _translated(self, error: Exception) -> HeadraceError:
        wrapped = self._database.file.translate(error)
        wrapped.__cause__ = error
        return wrapped
