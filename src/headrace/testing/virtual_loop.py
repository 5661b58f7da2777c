"""Virtual time for asyncio: a loop whose sleeps take no time, and its time as a clock."""

import asyncio
import selectors
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor, Future
from typing import Any, TypeVar

Result = TypeVar("Result")
START_MS = 1_700_000_000_000
START_SECONDS = 1000.0


class JumpingSelector(selectors.SelectSelector):
    """Moves the loop's time on instead of waiting."""

    def __init__(self, now: float = START_SECONDS) -> None:
        super().__init__()
        self.now = now

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise RuntimeError("the loop waits for something that will never come")
        self.now += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose sleeps take no time. Everything runs in the thread that runs the loop."""

    def __init__(self, now: float = START_SECONDS) -> None:
        self.jumping = JumpingSelector(now)
        super().__init__(self.jumping)

    def time(self) -> float:
        return self.jumping.now


class LoopClock:
    """The running loop's time as a Clock."""

    def now_ms(self) -> int:
        return START_MS + round(self.monotonic() * 1000)

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def sleep(self, seconds: float) -> None:
        raise AssertionError(f"a blocking sleep of {seconds} s inside the event loop")


class InlineExecutor(Executor):
    """Runs what it is given at once, so that virtual time has no thread to wait for."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 an executor hands over whatever it was
            future.set_exception(error)
        return future


def run_virtually(main: Callable[[], Awaitable[Result]]) -> Result:
    """Runs a coroutine on a virtual loop."""

    async def wrapped() -> Result:
        return await main()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(wrapped())
