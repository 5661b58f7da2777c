"""The replica: a process that loads versions and generates answers, batch by batch. `python -m headrace.serving.replica --help`.

One loop: messages in, one step of every version that has requests, pieces out. New requests join between steps; a
version that gets no more requests drains alongside the new one.
"""

import argparse
import os
import selectors
import signal
import socket
import sys

from headrace.foundation.failpoints import arm_from_environment, failpoint
from headrace.foundation.parent import die_with_parent
from headrace.serving.generation import GenerationRequest, GenerationStep
from headrace.serving.replica_limits import ReplicaLimits, limit_memory
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
    read_to_replica,
)
from headrace.serving.version_shelf import ShelfVersion, VersionShelf


class Channel:
    """The gateway's side of a socket pair, read without waiting while there is work."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = bytearray()
        self._wake_reader, self._wake_writer = socket.socketpair()
        for end in (self._wake_reader, self._wake_writer):
            end.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(connection, selectors.EVENT_READ)
        self._selector.register(self._wake_reader, selectors.EVENT_READ)

    def wake(self) -> None:
        """Ends a wait; callable from any thread."""
        try:
            self._wake_writer.send(b"\0")
        except BlockingIOError:
            return  # it is already awake: the pipe is full of wake-ups

    def receive(self, *, wait: bool) -> list[ToReplica]:
        """The messages received. EOFError when the gateway is gone."""
        for key, _ in self._selector.select(None if wait else 0):
            if key.fileobj is self._wake_reader:
                self._wake_reader.recv(4096)
                continue
            data = self._connection.recv(2**20)
            if not data:
                raise EOFError("the gateway closed the connection")
            self._buffer += data
        return [read_to_replica(body) for body in self._bodies()]

    def send(self, message: FromReplica) -> None:
        self._connection.sendall(frame(message))

    def _bodies(self) -> list[bytes]:
        bodies: list[bytes] = []
        while len(self._buffer) >= HEADER_BYTES:
            end = HEADER_BYTES + body_length(bytes(self._buffer[:HEADER_BYTES]))
            if len(self._buffer) < end:
                break
            bodies.append(bytes(self._buffer[HEADER_BYTES:end]))
            del self._buffer[:end]
        return bodies


class Replica:
    """Assigns requests to their versions, and steps every version that has some."""

    def __init__(self, channel: Channel, *, max_versions: int, engine: str | None) -> None:
        self._channel = channel
        self._shelf = VersionShelf(channel.wake, max_versions=max_versions, engine=engine)

    def run(self) -> None:
        """Works until the gateway is gone."""
        try:
            self._channel.send(Started(os.getpid()))
            while True:
                self._turn()
        except (EOFError, ConnectionError):
            return
        finally:
            self._shelf.close()

    def _turn(self) -> None:
        busy = any(version.loading.done() and (version.load or version.announce) for version in self._shelf)
        for message in self._channel.receive(wait=not busy):
            self._take(message)
        steps: list[GenerationStep] = []
        for version in self._shelf:
            if version.loading.done():
                steps += self._settle(version)
                steps += self._step(version)
        if steps:
            self._channel.send(Progress(steps, self._load()))

    def _take(self, message: ToReplica) -> None:
        match message:
            case Prepare(path):
                self._shelf.get(path).announce = True
            case Generate(path, request):
                self._shelf.get(path).waiting.append(request)
            case Cancel(request_id):
                if any(_cancel(version, request_id) for version in self._shelf):
                    step = GenerationStep(request_id, "", 0, (), "cancelled")
                    self._channel.send(Progress([step], self._load()))

    def _settle(self, version: ShelfVersion) -> list[GenerationStep]:
        """Reports that a version has been loaded or cannot be, and admits its waiting requests; returns the final steps of those that fail."""
        error = version.loading.exception()
        why = "" if error is None else _reason(error)
        if version.announce:
            engine = version.loaded.engine if version.loaded else ""
            self._channel.send(Prepared(version.path, engine, why))
            version.announce = False
        waiting, version.waiting = version.waiting, []
        if version.loaded is None:
            self._shelf.drop(version.path)
            return [_failure(request, f"the version cannot be loaded: {why}") for request in waiting]
        failures: list[GenerationStep] = []
        for request in waiting:
            try:
                version.loaded.batch.join(request)
            except ValueError as refusal:
                failures.append(_failure(request, str(refusal)))
        return failures

    def _step(self, version: ShelfVersion) -> list[GenerationStep]:
        if version.loaded is None or not len(version.loaded.batch):
            return []
        failpoint("serve.step")
        batch = version.loaded.batch
        try:
            return batch.step()
        except (ArithmeticError, MemoryError, RuntimeError, ValueError) as error:
            self._shelf.drop(version.path)
            return [GenerationStep(name, "", 0, (), "error", _reason(error)) for name in batch.request_ids]

    def _load(self) -> int:
        return sum(version.load for version in self._shelf)


def _cancel(version: ShelfVersion, request_id: str) -> bool:
    kept = [request for request in version.waiting if request.id != request_id]
    waited = len(kept) < len(version.waiting)
    version.waiting = kept
    return waited or (version.loaded is not None and version.loaded.batch.cancel(request_id))


def _failure(request: GenerationRequest, why: str) -> GenerationStep:
    return GenerationStep(request.id, "", 0, (), "error", why)


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__


def main(arguments: list[str] | None = None) -> None:
    """Serves the gateway at the other end of `--connection` until the gateway closes it."""
    parser = argparse.ArgumentParser(prog="python -m headrace.serving.replica", description=__doc__)
    parser.add_argument("--connection", type=int, required=True, help="file descriptor of a connected socket")
    parser.add_argument("--parent", type=int, required=True, help="process id; the replica exits when it does")
    parser.add_argument("--max-versions", type=int, default=3, help="versions kept in memory")
    parser.add_argument("--memory-bytes", type=int, default=None, help="limit of data memory")
    parser.add_argument(
        "--engine", default=None, help="numpy or transformers; default: the lightest engine that runs the version"
    )
    options = parser.parse_args(arguments)
    die_with_parent(options.parent)
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches the whole process group; the gateway decides when this process ends
    limit_memory(ReplicaLimits(memory_bytes=options.memory_bytes))
    arm_from_environment()
    channel = Channel(socket.socket(fileno=options.connection))
    Replica(channel, max_versions=options.max_versions, engine=options.engine).run()


if __name__ == "__main__":
    main(sys.argv[1:])
