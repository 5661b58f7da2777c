"""The gateway's end of one replica: starts the process, sends it work, and passes its pieces to the waiting requests."""

import asyncio
import os
import socket
import sys
from dataclasses import dataclass

import msgspec

from headrace.foundation.errors import CorruptDataError, UnavailableError
from headrace.serving.generation import GenerationRequest, GenerationStep
from headrace.serving.replica_limits import ReplicaLimits, environment
from headrace.serving.replica_protocol import (
    HEADER_BYTES,
    Cancel,
    FromReplica,
    Generate,
    Prepare,
    Prepared,
    Progress,
    Started,
    ToReplica,
    body_length,
    frame,
    read_from_replica,
)

START_TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class ReplicaOptions:
    """How a pool runs each replica."""

    limits: ReplicaLimits = ReplicaLimits()
    max_versions: int = 3
    """Kept in memory: the served version, a draining previous one, a pinned one."""
    max_batch: int = 16
    """Requests it handles at once."""
    engine: str | None = None
    """None: the lightest engine that runs the version."""


class ReplicaLostError(UnavailableError):
    """The replica exited while working on a request."""


class ReplicaProcess:
    """A running replica. Belongs to one event loop."""

    def __init__(
        self, process: asyncio.subprocess.Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self._answers: dict[str, asyncio.Queue[GenerationStep | None]] = {}
        self._preparing: dict[str, asyncio.Future[Prepared]] = {}
        self._running = 0
        self._ended = asyncio.Event()
        self._listening = asyncio.create_task(self._listen(), name=f"replica-{process.pid}")

    @staticmethod
    async def start(options: ReplicaOptions) -> "ReplicaProcess":
        """Starts a process and waits for its first message. UnavailableError if none comes within START_TIMEOUT_SECONDS."""
        here, there = socket.socketpair()
        with there:
            process = await asyncio.create_subprocess_exec(
                *_command(options, there.fileno()),
                pass_fds=(there.fileno(),),
                env=environment(options.limits),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,  # stdout carries the commands' data; stderr is inherited
            )
        reader, writer = await asyncio.open_connection(sock=here)
        try:
            async with asyncio.timeout(START_TIMEOUT_SECONDS):
                first = await _read(reader)
        except (EOFError, OSError, TimeoutError) as error:
            writer.close()
            await _end(process)
            raise UnavailableError("a replica did not start", next_step="See its own message above.") from error
        if not isinstance(first, Started):
            raise CorruptDataError(f"a replica sent {type(first).__name__} first")
        return ReplicaProcess(process, reader, writer)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return not self._ended.is_set()

    @property
    def running(self) -> int:
        """The replica's last reported number of requests in progress."""
        return self._running

    async def ended(self) -> None:
        """Returns when the process is gone."""
        await self._ended.wait()

    async def prepare(self, path: str) -> Prepared:
        """Loads a version; UnavailableError if the replica exits during the load."""
        if not self.alive:
            raise ReplicaLostError("the replica has exited")
        future = self._preparing.get(path)
        if future is None:
            future = self._preparing[path] = asyncio.get_running_loop().create_future()
            self._send(Prepare(path))
        return await asyncio.shield(future)

    def open(self, path: str, request: GenerationRequest) -> asyncio.Queue[GenerationStep | None]:
        """Sends a request; its steps arrive in the queue, None if the replica was lost."""
        queue: asyncio.Queue[GenerationStep | None] = asyncio.Queue()
        if self.alive:
            self._answers[request.id] = queue
            self._send(Generate(path, request))
        else:
            queue.put_nowait(None)
        return queue

    def close_request(self, request_id: str) -> None:
        """The request is abandoned: tells a replica still working on it to stop."""
        if self._answers.pop(request_id, None) is not None:
            self._send(Cancel(request_id))

    def kill(self) -> None:
        """For a replica that does not respond."""
        if self._process.returncode is None:
            self._process.kill()

    async def close(self) -> None:
        """Stops the process; work in progress is lost."""
        self._writer.close()
        await _end(self._process)
        await self._listening

    def _send(self, message: ToReplica) -> None:
        if self.alive:
            self._writer.write(frame(message))

    async def _listen(self) -> None:
        try:
            while True:
                self._take(await _read(self._reader))
        except (EOFError, OSError, CorruptDataError, msgspec.MsgspecError):
            self.kill()  # it has exited or sends invalid messages: either way it is restarted
        finally:
            await self._process.wait()
            self._lose()

    def _take(self, message: FromReplica) -> None:
        if isinstance(message, Prepared):
            if (future := self._preparing.pop(message.path, None)) is not None:
                future.set_result(message)
        elif isinstance(message, Progress):
            self._running = message.running
            for step in message.steps:
                self._deliver(step)

    def _deliver(self, step: GenerationStep) -> None:
        queue = self._answers.get(step.request_id)
        if queue is None:
            return
        queue.put_nowait(step)
        if step.finish_reason is not None:
            del self._answers[step.request_id]

    def _lose(self) -> None:
        self._ended.set()
        self._running = 0
        self._writer.close()
        for queue in self._answers.values():
            queue.put_nowait(None)
        self._answers.clear()
        for future in self._preparing.values():
            future.set_exception(ReplicaLostError("the replica exited while loading a version"))
            future.exception()  # read here, so that asyncio does not log a future that is no longer awaited
        self._preparing.clear()


async def _read(reader: asyncio.StreamReader) -> FromReplica:
    header = await reader.readexactly(HEADER_BYTES)
    return read_from_replica(await reader.readexactly(body_length(header)))


async def _end(process: asyncio.subprocess.Process) -> None:
    """The replica exits on its own when its connection closes; a stuck one is killed."""
    try:
        async with asyncio.timeout(5):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _command(options: ReplicaOptions, connection: int) -> list[str]:
    command = [sys.executable, "-m", "headrace.serving.replica", "--connection", str(connection)]
    command += ["--parent", str(os.getpid()), "--max-versions", str(options.max_versions)]
    if options.limits.memory_bytes is not None:
        command += ["--memory-bytes", str(options.limits.memory_bytes)]
    if options.engine is not None:
        command += ["--engine", options.engine]
    return command
