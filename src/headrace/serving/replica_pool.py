"""The replicas of one served model: least-loaded dispatch, a bounded queue, restarts, retries, draining."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

from headrace.foundation.clock import SYSTEM_CLOCK, Clock
from headrace.foundation.errors import BusyError, CorruptDataError, HeadraceError, UnavailableError
from headrace.serving.generation import GenerationRequest, GenerationStep
from headrace.serving.replica_process import ReplicaLostError, ReplicaOptions, ReplicaProcess

_ATTEMPTS = 3
_FIRST_DELAY_SECONDS, _LONGEST_DELAY_SECONDS, _HEALTHY_SECONDS = 0.1, 10.0, 30.0


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """How many replicas, and the size of their queue."""

    replicas: int = 1
    replica: ReplicaOptions = ReplicaOptions()
    max_queue: int = 256
    queue_timeout_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class PoolState:
    """For metrics and readiness."""

    replicas: int
    """Live replicas."""
    queued: int
    running: int
    restarts: int


class ReplicaPool:
    """Belongs to one event loop: `start`, `generate` as often as needed, `drain`, `close`."""

    def __init__(self, options: PoolOptions, clock: Clock = SYSTEM_CLOCK) -> None:
        self._options = options
        self._clock = clock
        self._alive: list[ReplicaProcess] = []
        self._in_flight: Counter[int] = Counter()
        """Requests by the replica's process id."""
        self._waiting: deque[asyncio.Future[ReplicaProcess]] = deque()
        self._warm: deque[Path] = deque(maxlen=max(1, options.replica.max_versions - 1))
        """Versions that a restarted replica loads before it accepts requests."""
        self._supervisors: list[asyncio.Task[None]] = []
        self._changed = asyncio.Event()
        """Set and replaced whenever a replica becomes available or a request finishes."""
        self._restarts = 0
        self._draining = False

    @property
    def state(self) -> PoolState:
        return PoolState(len(self._alive), len(self._waiting), self._in_flight.total(), self._restarts)

    @property
    def replicas(self) -> tuple[ReplicaProcess, ...]:
        """The live replicas."""
        return tuple(self._alive)

    async def start(self) -> None:
        """Starts every replica and returns when the first can accept requests; the others follow."""
        self._supervisors = [
            asyncio.create_task(self._supervise(), name=f"replica-supervisor-{index}")
            for index in range(self._options.replicas)
        ]
        await self._some_alive()

    async def prepare(self, path: Path) -> None:
        """Loads a version in every replica, so that switching to it delays no request.

        CorruptDataError if it cannot be loaded; UnavailableError if no replica lived long enough.
        """
        await self._some_alive()
        replies = await asyncio.gather(*(replica.prepare(str(path)) for replica in self._alive), return_exceptions=True)
        loaded = [reply for reply in replies if not isinstance(reply, BaseException)]
        for reply in loaded:
            if reply.error:
                raise CorruptDataError(f"the version cannot be loaded: {reply.error}", where=str(path))
        if not loaded:
            raise UnavailableError("every replica exited while loading a version", where=str(path))
        if path not in self._warm:
            self._warm.append(path)

    async def generate(self, path: Path, request: GenerationRequest) -> AsyncGenerator[GenerationStep]:
        """One answer, piece by piece; the last has a finish reason. Closing the generator stops the replica's work.

        BusyError at once if the queue is full, UnavailableError if no replica becomes available in time or the pool
        drains. If a replica dies before its first piece, another one takes the request.
        """
        for _ in range(_ATTEMPTS):
            replica = await self._acquire()
            said = False
            try:
                steps = replica.open(str(path), request)
                while (step := await steps.get()) is not None:
                    said = True
                    yield step
                    if step.finish_reason is not None:
                        return
            finally:
                replica.close_request(request.id)
                self._release(replica)
            if said:
                yield GenerationStep(request.id, "", 0, (), "error", "the replica exited during the answer")
                return
        yield GenerationStep(
            request.id, "", 0, (), "error", f"{_ATTEMPTS} replicas exited while working on this request"
        )

    async def drain(self, timeout_seconds: float = 30.0) -> bool:
        """Accepts no new requests and waits for running ones; False if the time ran out first."""
        self._draining = True
        try:
            async with asyncio.timeout(timeout_seconds):
                while self._waiting or self._in_flight.total():
                    await self._change()
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """Stops every replica; work in progress is lost."""
        self._draining = True
        for supervisor in self._supervisors:
            supervisor.cancel()
        await asyncio.gather(*self._supervisors, return_exceptions=True)

    async def _acquire(self) -> ReplicaProcess:
        if self._draining:
            raise UnavailableError(
                "the server is shutting down", next_step="Ask again in a moment.", retry_after_seconds=1
            )
        replica = None if self._waiting else self._least_loaded()
        if replica is not None:
            self._in_flight[replica.pid] += 1
            return replica
        if len(self._waiting) >= self._options.max_queue:
            raise BusyError(f"{len(self._waiting)} requests are already waiting", retry_after_seconds=1)
        return await self._wait_for_turn()

    async def _wait_for_turn(self) -> ReplicaProcess:
        turn: asyncio.Future[ReplicaProcess] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(self._options.queue_timeout_seconds):
                return await turn
        except BaseException as error:
            if turn in self._waiting:
                self._waiting.remove(turn)
            elif turn.done() and not turn.cancelled():
                self._release(turn.result())
            if isinstance(error, TimeoutError):
                raise UnavailableError("no replica became available in time", retry_after_seconds=5) from error
            raise

    def _release(self, replica: ReplicaProcess) -> None:
        self._in_flight[replica.pid] -= 1
        if self._in_flight[replica.pid] <= 0:
            del self._in_flight[replica.pid]
        self._hand_over()

    def _hand_over(self) -> None:
        """Assigns free slots to waiting requests, in order."""
        while self._waiting and (replica := self._least_loaded()) is not None:
            turn = self._waiting.popleft()
            if not turn.done():
                self._in_flight[replica.pid] += 1
                turn.set_result(replica)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _least_loaded(self) -> ReplicaProcess | None:
        free = (replica for replica in self._alive if self._in_flight[replica.pid] < self._options.replica.max_batch)
        return min(free, key=lambda replica: self._in_flight[replica.pid], default=None)

    async def _some_alive(self) -> None:
        try:
            async with asyncio.timeout(self._options.queue_timeout_seconds):
                while not self._alive:
                    await self._change()
        except TimeoutError as error:
            raise UnavailableError(
                "no replica could start", next_step="Check the replicas' messages on stderr."
            ) from error

    async def _change(self) -> None:
        await self._changed.wait()

    async def _supervise(self) -> None:
        """Keeps one replica alive, with longer pauses between starts while it keeps dying."""
        delay = _FIRST_DELAY_SECONDS
        while True:
            started = self._clock.monotonic()
            await self._live_once()
            if self._clock.monotonic() - started > _HEALTHY_SECONDS:
                delay = _FIRST_DELAY_SECONDS
            await asyncio.sleep(delay)
            delay = min(2 * delay, _LONGEST_DELAY_SECONDS)
            self._restarts += 1

    async def _live_once(self) -> None:
        try:
            replica = await ReplicaProcess.start(self._options.replica)
        except (HeadraceError, OSError):
            return  # the replica's own message is on stderr; the supervisor counts and retries
        try:
            await self._warm_up(replica)
            self._alive.append(replica)
            self._hand_over()
            await replica.ended()
        finally:
            if replica in self._alive:
                self._alive.remove(replica)
            await replica.close()

    async def _warm_up(self, replica: ReplicaProcess) -> None:
        for path in tuple(self._warm):
            try:
                await replica.prepare(str(path))
            except ReplicaLostError:
                return  # `ended` returns at once; the next start retries
