"""A teacher's desk on a virtual loop that runs only when it is stepped, and that a kill ends between two writes."""

import asyncio
from collections.abc import Callable, Collection, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from headrace.teachers.desk import TeacherDesk
from headrace.teachers.desk_thread import GuardedDesk, end_tasks
from headrace.testing.failpoints import Kill, Killed
from headrace.testing.simulation.teacher import TeacherClock
from headrace.testing.virtual_loop import InlineExecutor

Result = TypeVar("Result")


class MortalExecutor(InlineExecutor):
    """Writes for as long as its process lives."""

    dead = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        if self.dead:
            raise Killed("its process is dead")
        return super().submit(fn, *args, **kwargs)


class SteppedDesk(GuardedDesk):
    """As `RunningDesk`; in its one thread. Time passes in `wait`, `run` and `pass_time`."""

    def __init__(
        self, desk: TeacherDesk, clock: TeacherClock, executor: MortalExecutor, patience: Callable[[float], float]
    ) -> None:
        """`executor`: writes the desk's store. `patience`: how many seconds pass where a stage waits for up to so many."""
        loop = clock.new_loop()
        loop.set_exception_handler(
            lambda _loop, _what: None
        )  # futures that nobody collects: the stage has their outcome
        super().__init__(desk, loop, loop.stop)
        self._executor, self._patience = executor, patience

    def run(self, work: Callable[[TeacherDesk], Coroutine[Any, Any, Result]]) -> Result:
        self.check()
        return self._drive(self._guarded(work))

    def wait(self, futures: "Collection[Future[Any]]", timeout_seconds: float) -> None:
        del futures  # what a stage does with the first answer it does with several
        self._drive(asyncio.sleep(self._patience(timeout_seconds)))

    def pass_time(self, seconds: float) -> None:
        """Nobody waits, and the teacher answers meanwhile."""
        if not self.ended:
            self._drive(asyncio.sleep(seconds))

    @property
    def ended(self) -> bool:
        return self._loop.is_closed()

    def close(self, grace_seconds: float) -> None:
        if self.ended:
            return
        self._complete(self._desk.close(0.0 if self._fatal else grace_seconds))
        self._end()

    def drop(self) -> None:
        """Its process was killed: calls under way are cut, nothing is written any more."""
        if not self.ended:
            self._executor.dead = True
            self._end()

    def _end(self) -> None:
        for _ in range(2):  # what is cancelled may start something at its end
            self._complete(end_tasks())
        self._loop.close()

    def _drive(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Runs the loop until the work is done, or the process dies of something else."""
        strikes = Kill.strikes
        task = self._loop.create_task(work)
        task.add_done_callback(self._stop)
        self._loop.run_forever()
        task.remove_done_callback(self._stop)
        self._die_of(strikes)
        self.check()
        return task.result()

    def _die_of(self, strikes: int) -> None:
        """A kill within a call reaches the work that awaits the call some turns of the loop later; the process is dead at once."""
        if Kill.strikes > strikes and self._fatal is None:
            self._fatal = Killed("while it waited")

    def _complete(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs the loop until the work is done, whatever else ends."""
        task = self._loop.create_task(work)
        task.add_done_callback(self._stop)
        while not task.done():
            self._loop.run_forever()

    def _stop(self, _: object) -> None:
        self._loop.stop()
