"""The store of answers: one file that holds the ledger and the answer cache, so that one transaction settles a call.

May be used by several processes at once. What it costs is in `ledger.py`, what was said in `answer_cache.py`.
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
        """Creates the file where it is missing; errors are those of `open_store_file`. `executor` runs the transactions."""
        self._path = path
        self._file = open_store_file(path)
        self._commits = GroupCommit(self._file, executor)

    def given(self, ask: AskRecord) -> StoredAnswer | AnsweredError | None:
        """The outcome that this very ask has paid for already."""
        return self._read(lambda db: answer_cache.given(db, ask))

    def cached(self, ask: AskRecord) -> StoredAnswer | None:
        """The newest answer to the same question."""
        return self._read(lambda db: answer_cache.cached(db, ask))

    def spent(self, owner: ResourceId) -> Spending:
        """What this owner has spent, all processes together."""
        return self._read(
            lambda db: ledger.spending_of(db.execute(ledger.SPENDING, (str(owner),)).fetchone()),
        )

    async def count_cached(self, owner: ResourceId) -> None:
        """One more ask was answered from the cache."""
        await self._commits.submit(lambda db: ledger.add(db, str(owner), cached=1))

    async def reserve(
        self, owner: ResourceId, cost: Cost, budget: Budget, now_ms: int, expires_at_ms: int
    ) -> Reservation:
        """Commits that up to `cost` may be spent; BudgetSpentError where that passes the budget."""
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
        """The request left and no whole answer came back."""
        await self._commits.submit(lambda db: ledger.lose(db, reservation))

    async def settle(self, reservation: Reservation, ask: AskRecord, answer: StoredAnswer, now_ms: int) -> None:
        """Replaces the reservation by the true cost and keeps the answer."""
        failpoint("teacher.answer.before")

        def work(db: sqlite3.Connection) -> None:
            ledger.charge(db, reservation, answer.cost)
            answer_cache.keep_answer(db, ask, answer, now_ms)

        await self._commits.submit(work)
        failpoint("teacher.answer.after")

    async def settle_error(
        self, reservation: Reservation, ask: AskRecord, error: AnsweredError, cost: Cost, now_ms: int
    ) -> None:
        """The same for a call that was billed and gave no answer to use."""
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
        """From now on these versions hold for the owner, by document; None: the document is gone.

        Deletes its answers made from any other version of them, and keeps none in future; how many there were.
        """
        failpoint("teacher.renew.before")
        deleted = await self._commits.submit(lambda db: answer_cache.renew(db, owner, versions))
        failpoint("teacher.renew.after")
        return deleted

    async def reconcile(self, now_ms: int) -> int:
        """Counts reservations that have expired as lost to a kill; how many."""
        return await self._commits.submit(lambda db: ledger.expire(db, now_ms))

    async def prune(self, owner: ResourceId, committed: int, keep: Keep, now_ms: int) -> int:
        """Deletes what passes the bounds and no prompt from `committed` on needs; how many."""
        pruned = 0
        while count := await self._commits.submit(
            lambda db: answer_cache.prune(db, owner, committed, keep, now_ms),
        ):
            pruned += count
        return pruned

    async def close(self) -> None:
        """Writes what waits, then closes the file."""
        if await self._commits.close():
            self._file.close()

    def _take_back(self, future: "asyncio.Future[Any]") -> None:
        """The caller was cancelled between asking for a reservation and getting it: no call was made."""
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
    """What the store holds of one owner."""

    outcomes: int = 0
    bytes: int = 0
    """Of their texts."""
    spending: Spending = Spending()


def kept(path: Path, owner: ResourceId) -> Kept:
    """What the store holds of an owner; nothing where there is no file."""
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
    """Deletes the owner's outcomes and, with `spending`, its accounts; bytes of text that were deleted.

    For a reset of labels, which asks and pays again, and for purging a resource. Stop the owner's stages first.
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
