"""The answer store: one file with the ledger and the answer cache, so that one transaction settles a call.

Several processes may use it at once. Costs are in `ledger.py`, answers in `answer_cache.py`.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from headrace.foundation.failpoints import failpoint
from headrace.foundation.resource_id import ResourceId
from headrace.teachers import answer_cache, ledger
from headrace.teachers.answer_cache import AskRecord, Keep, StoredAnswer
from headrace.teachers.group_commit import GroupCommit
from headrace.teachers.ledger import Budget, Cost, Reservation, Spending
from headrace.teachers.store_file import open_store_file, store_error
from headrace.teachers.teacher import AnsweredError, BudgetSpentError

Result = TypeVar("Result")


class AnswerStore:
    """Opened on `STATE/teachers.sqlite`; used from one event loop."""

    def __init__(self, path: Path, *, executor: Executor | None = None) -> None:
        """Creates the file if needed; errors as in `open_store_file`. `executor` runs the transactions."""
        self._path = path
        self._file = open_store_file(path)
        self._commits = GroupCommit(self._file, executor)

    def given(self, ask: AskRecord) -> StoredAnswer | AnsweredError | None:
        """The outcome that this ask has already paid for."""
        return self._read(lambda db: answer_cache.given(db, ask))

    def cached(self, ask: AskRecord) -> StoredAnswer | None:
        """The newest answer to the same question."""
        return self._read(lambda db: answer_cache.cached(db, ask))

    def spent(self, owner: ResourceId) -> Spending:
        """What this owner has spent across all processes."""
        return self._read(
            lambda db: ledger.spending_of(db.execute(ledger.SPENDING, (str(owner),)).fetchone()),
        )

    async def count_cached(self, owner: ResourceId) -> None:
        """Counts an ask answered from the cache."""
        await self._commits.submit(lambda db: ledger.add(db, str(owner), cached=1))

    async def reserve(
        self, owner: ResourceId, cost: Cost, budget: Budget, now_ms: int, expires_at_ms: int
    ) -> Reservation:
        """Reserves `cost`; BudgetSpentError if it would exceed the budget."""
        failpoint("teacher.reserve.before")
        future = self._commits.enqueue(lambda db: ledger.reserve(db, str(owner), cost, budget, now_ms, expires_at_ms))
        try:
            reservation = await asyncio.shield(future)
        except asyncio.CancelledError:
            future.add_done_callback(self._take_back)
            raise
        failpoint("teacher.reserve.after")
        if isinstance(reservation, BudgetSpentError):
            raise reservation
        return reservation

    async def release(self, reservation: Reservation) -> None:
        """Nothing was spent."""
        await self._commits.submit(lambda db: ledger.release(db, reservation))

    async def lose(self, reservation: Reservation) -> None:
        """The request was sent but no complete answer arrived."""
        await self._commits.submit(lambda db: ledger.lose(db, reservation))

    async def settle(self, reservation: Reservation, ask: AskRecord, answer: StoredAnswer, now_ms: int) -> None:
        """Replaces the reservation with the actual cost and stores the answer."""
        failpoint("teacher.answer.before")

        def work(db: sqlite3.Connection) -> None:
            ledger.charge(db, reservation, answer.cost)
            answer_cache.keep_answer(db, ask, answer, now_ms)

        await self._commits.submit(work)
        failpoint("teacher.answer.after")

    async def settle_error(
        self, reservation: Reservation, ask: AskRecord, error: AnsweredError, cost: Cost, now_ms: int
    ) -> None:
        """The same for a call that was billed but gave no usable answer."""
        failpoint("teacher.answer.before")

        def work(db: sqlite3.Connection) -> None:
            ledger.charge(db, reservation, cost)
            answer_cache.keep_error(db, ask, error, cost, now_ms)

        await self._commits.submit(work)
        failpoint("teacher.answer.after")

    async def share_error(self, ask: AskRecord, error: AnsweredError, now_ms: int) -> None:
        """Another ask paid for this refusal or unusable answer; it is this ask's outcome too."""
        await self._commits.submit(lambda db: answer_cache.keep_error(db, ask, error, ledger.NOTHING, now_ms))

    async def renew(self, owner: ResourceId, versions: Mapping[str, str | None]) -> int:
        """Sets the owner's current document versions; None: the document was deleted.

        Deletes its answers based on any other version and stores no more of them; returns how many were deleted.
        """
        failpoint("teacher.renew.before")
        deleted = await self._commits.submit(lambda db: answer_cache.renew(db, owner, versions))
        failpoint("teacher.renew.after")
        return deleted

    async def reconcile(self, now_ms: int) -> int:
        """Counts expired reservations as lost to a kill; returns how many."""
        return await self._commits.submit(lambda db: ledger.expire(db, now_ms))

    async def prune(self, owner: ResourceId, committed: int, keep: Keep, now_ms: int) -> int:
        """Deletes what exceeds the limits and no prompt from `committed` on needs; returns how many."""
        pruned = 0
        while count := await self._commits.submit(
            lambda db: answer_cache.prune(db, owner, committed, keep, now_ms),
        ):
            pruned += count
        return pruned

    async def close(self) -> None:
        """Writes pending changes, then closes the file."""
        if await self._commits.close():
            self._file.close()

    def _take_back(self, future: "asyncio.Future[Any]") -> None:
        """The caller was cancelled between requesting a reservation and getting it: no call was made."""
        if not future.cancelled() and future.exception() is None and isinstance(future.result(), Reservation):
            reservation = cast("Reservation", future.result())
            self._commits.enqueue(lambda db: ledger.release(db, reservation))

    def _read(self, query: Callable[[sqlite3.Connection], Result]) -> Result:
        try:
            return query(self._file.reader)
        except sqlite3.Error as error:
            raise store_error(error, self._path) from error


@dataclass(frozen=True, slots=True)
class Kept:
    """The store's contents for one owner."""

    outcomes: int = 0
    bytes: int = 0
    """Bytes of text."""
    spending: Spending = Spending()


def kept(path: Path, owner: ResourceId) -> Kept:
    """The store's contents for an owner; empty if there is no file."""
    if not path.exists():
        return Kept()
    file = open_store_file(path)
    try:
        count, size = file.reader.execute(
            "SELECT COUNT(*), COALESCE(SUM(size), 0) FROM answers WHERE owner = ?", (str(owner),)
        ).fetchone()
        spent = ledger.spending_of(file.reader.execute(ledger.SPENDING, (str(owner),)).fetchone())
        return Kept(count, size, spent)
    except sqlite3.Error as error:
        raise store_error(error, path) from error
    finally:
        file.close()


def forget(path: Path, owner: ResourceId, *, spending: bool) -> int:
    """Deletes the owner's outcomes and, with `spending`, its accounts; returns the bytes of text deleted.

    For resetting labels, which asks and pays again, and for purging a resource. Stop the owner's stages first.
    """
    if not path.exists():
        return 0
    file = open_store_file(path)
    try:
        return _forget(file.writer, str(owner), spending=spending)
    except sqlite3.Error as error:
        raise store_error(error, path) from error
    finally:
        file.close()


def _forget(db: sqlite3.Connection, owner: str, *, spending: bool) -> int:
    with db:
        db.execute("BEGIN IMMEDIATE")
        size: int = db.execute("SELECT COALESCE(SUM(size), 0) FROM answers WHERE owner = ?", (owner,)).fetchone()[0]
        db.execute("DELETE FROM citations WHERE answer_id IN (SELECT id FROM answers WHERE owner = ?)", (owner,))
        db.execute("DELETE FROM answers WHERE owner = ?", (owner,))
        if spending:
            for table in ("spending", "reservations", "current_versions"):
                db.execute(f"DELETE FROM {table} WHERE owner = ?", (owner,))
    return size
