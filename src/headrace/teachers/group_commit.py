"""Group commit for callers on one event loop: while a thread writes one transaction, the next one collects."""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, TypeVar

from headrace.foundation.failpoints import failpoint
from headrace.teachers.store_file import StoreFile, store_error

Result = TypeVar("Result")
Work = Callable[[sqlite3.Connection], object]


class GroupCommit:
    """Used from one event loop. Several processes may write to the file."""

    def __init__(self, file: StoreFile, executor: Executor | None = None) -> None:
        """`executor` runs the transactions; default: its own thread."""
        self._file = file
        self._own_executor = executor is None
        self._executor = executor or ThreadPoolExecutor(1, thread_name_prefix="answer-store")
        self._waiting: list[tuple[Work, asyncio.Future[Any]]] = []
        self._writing: asyncio.Task[None] | None = None
        self._closed = False

    async def submit(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """Runs the work in the next transaction, even if the caller is cancelled."""
        return await asyncio.shield(self.enqueue(work))

    def enqueue(self, work: Callable[[sqlite3.Connection], Result]) -> "asyncio.Future[Result]":
        """The same without waiting. RuntimeError once the store is closed."""
        if self._closed:
            raise RuntimeError("the answer store is closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        future.add_done_callback(_looked_at)
        self._waiting.append((work, future))
        if self._writing is None:
            self._writing = loop.create_task(self._write())
        return future

    async def close(self) -> bool:
        """Writes pending work. False: already closed."""
        if self._closed:
            return False
        while self._writing is not None:
            await asyncio.wait([self._writing])
        self._closed = True
        if self._own_executor:
            self._executor.shutdown()
        return True

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            group, self._waiting = self._waiting, []
            try:
                results = await loop.run_in_executor(self._executor, self._commit, [work for work, _ in group])
            except asyncio.CancelledError:
                raise
            except BaseException as error:  # noqa: BLE001 every caller must receive it
                for _, future in group:
                    future.set_exception(error)
            else:
                for (_, future), result in zip(group, results, strict=True):
                    future.set_result(result)
        self._writing = None

    def _commit(self, group: list[Work]) -> list[object]:
        """One transaction for the whole group."""
        writer = self._file.writer
        try:
            writer.execute("BEGIN IMMEDIATE")
            try:
                results = [work(writer) for work in group]
                failpoint("teacher.commit.within")
                writer.execute("COMMIT")
            except BaseException:
                if writer.in_transaction:
                    writer.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise store_error(error, self._file.path) from error
        return results


def _looked_at(future: "asyncio.Future[Any]") -> None:
    """Marks an error as retrieved: its caller may be gone, and asyncio would report it as never retrieved."""
    if not future.cancelled():
        future.exception()
