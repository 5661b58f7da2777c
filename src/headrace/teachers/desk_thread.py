"""A desk on an event loop in its own thread, so that answers arrive and are stored while its owner waits, commits or pauses."""

import asyncio
import threading
from collections.abc import Callable, Collection, Coroutine
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any, Protocol, TypeVar

from headrace.teachers.desk import TeacherDesk

_CHECK_SECONDS = 0.1
Result = TypeVar("Result")


class RunningDesk(Protocol):
    """A desk whose event loop another thread runs."""

    @property
    def calls_left(self) -> int:
        """See the desk."""
        ...

    @property
    def last_answered(self) -> int:
        """See the desk."""
        ...

    def submit(self, work: Callable[[TeacherDesk], Coroutine[Any, Any, Result]]) -> "Future[Result]":
        """Starts the work on the loop, in the order of submission."""
        ...

    def run(self, work: Callable[[TeacherDesk], Coroutine[Any, Any, Result]]) -> Result:
        """Runs the work on the loop and waits for it."""
        ...

    def wait(self, futures: "Collection[Future[Any]]", timeout_seconds: float) -> None:
        """Waits until one of them is done or the time is up."""
        ...

    def check(self) -> None:
        """Raises the error that ended the loop, if it was not an `Exception`."""
        ...

    def close(self, grace_seconds: float) -> None:
        """Waits up to this long for calls in progress to arrive and be stored, then stops everything."""
        ...


class GuardedDesk:
    """A desk on an event loop. An error beyond `Exception` in its work, such as a kill, is the end of all its work."""

    def __init__(self, desk: TeacherDesk, loop: asyncio.AbstractEventLoop, halt: Callable[[], None]) -> None:
        """`halt`: called on the loop after such an error."""
        self._desk, self._loop, self._halt = desk, loop, halt
        self._fatal: BaseException | None = None

    @property
    def calls_left(self) -> int:
        return self._desk.calls_left

    @property
    def last_answered(self) -> int:
        return self._desk.last_answered

    def submit(self, work: Callable[[TeacherDesk], Coroutine[Any, Any, Result]]) -> "Future[Result]":
        self.check()
        return asyncio.run_coroutine_threadsafe(self._guarded(work), self._loop)

    def check(self) -> None:
        if self._fatal is not None:
            raise self._fatal

    async def _guarded(self, work: Callable[[TeacherDesk], Coroutine[Any, Any, Result]]) -> Result:
        """An error beyond `Exception` ends the process: nothing is sent or stored after it."""
        try:
            return await work(self._desk)
        except (Exception, asyncio.CancelledError):
            raise
        except BaseException as error:
            self._fatal = error
            self._halt()
            raise


class DeskThread(GuardedDesk):
    """Runs its desk in a thread. Owns the desk. Used from one other thread."""

    def __init__(self, desk: TeacherDesk, name: str) -> None:
        self._end = asyncio.Event()
        super().__init__(desk, asyncio.new_event_loop(), self._end.set)
        self._thread = threading.Thread(target=self._run_loop, name=f"desk of {name}", daemon=True)
        self._thread.start()

    def run(self, work: Callable[[TeacherDesk], Coroutine[Any, Any, Result]]) -> Result:
        future = self.submit(work)
        while not wait([future], timeout=_CHECK_SECONDS).done:
            self.check()
        return future.result()

    def wait(self, futures: "Collection[Future[Any]]", timeout_seconds: float) -> None:
        wait(futures, timeout=timeout_seconds, return_when=FIRST_COMPLETED)
        self.check()

    def close(self, grace_seconds: float) -> None:
        if self._loop.is_closed():
            return
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()
        try:
            self._loop.run_until_complete(self._desk.close(0.0 if self._fatal else grace_seconds))
            self._loop.run_until_complete(end_tasks())
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            self._loop.close()

    def _run_loop(self) -> None:
        self._loop.run_until_complete(self._end.wait())


async def end_tasks() -> None:
    """Cancels pending work, such as asks whose answers nobody collects any more."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
