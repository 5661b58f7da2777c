"""Orders on a pipe: how the supervisor tells a role's process what to run, at the start and later.

Read from the file descriptor itself: a thread that waits in a buffered reader would abort the interpreter when it ends.
"""

import os
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from headrace.log.topic_log import TopicLog
from headrace.stages.context import EMBEDDED, Backends, StageContext
from headrace.stages.limits import ResourceLimits
from headrace.stages.serve.options import DoorOptions
from headrace.stages.stage_spec import StageSpec

PROGRAM = "headrace.control.role"
_LENGTH_BYTES = 8


@dataclass(frozen=True, slots=True)
class RoleOrder:
    """What a role's process should run."""

    process: str
    """ingest, embed/NAMESPACE.NAME/REPLICA, train/NAMESPACE.NAME, serve …"""
    specs: tuple[StageSpec, ...]
    state: Path
    holder: str
    backends: Backends = EMBEDDED
    limits: ResourceLimits = ResourceLimits()
    program: str = PROGRAM
    """What `python -m` runs."""
    doors: DoorOptions = DoorOptions()
    """Where the gateway listens; only its own role reads it."""

    def context(self, log: TopicLog) -> StageContext:
        return StageContext(log, self.holder, self.state, self.backends)


def send(pipe: IO[bytes], order: RoleOrder) -> None:
    """Writes one order. BrokenPipeError if the reader is gone."""
    data = pickle.dumps(order)
    pipe.write(len(data).to_bytes(_LENGTH_BYTES, "big") + data)
    pipe.flush()


def received(descriptor: int) -> Iterator[RoleOrder]:
    """Orders as they come; ends when the supervisor closes its end. They come from the parent process alone."""
    while header := _read(descriptor, _LENGTH_BYTES):
        yield pickle.loads(_read(descriptor, int.from_bytes(header, "big")))  # noqa: S301 - the parent process wrote it


def _read(descriptor: int, length: int) -> bytes:
    """Exactly so many bytes; none where the pipe ends before."""
    found = bytearray()
    while len(found) < length:
        piece = os.read(descriptor, length - len(found))
        if not piece:
            return b""
        found += piece
    return bytes(found)
