"""Orders on a pipe: how the supervisor tells a role's process what to run, at first and later.

Read from the file descriptor itself: a thread that waits in a buffered reader would abort the interpreter when it ends.
"""

import os
import pickle
from collections.abc import Iterator
from typing import IO, TypeVar

from headrace.foundation.errors import UnavailableError

Order = TypeVar("Order")
_LENGTH_BYTES = 8


def send(pipe: IO[bytes], order: object) -> None:
    """Writes one order. BrokenPipeError where nobody reads any more."""
    data = pickle.dumps(order)
    pipe.write(len(data).to_bytes(_LENGTH_BYTES, "big") + data)
    pipe.flush()


def received(descriptor: int, expected: type[Order]) -> Iterator[Order]:
    """Orders as they come; ends when the supervisor closes its end. They come from the parent process alone."""
    while header := _read(descriptor, _LENGTH_BYTES):
        order = pickle.loads(_read(descriptor, int.from_bytes(header, "big")))  # noqa: S301 - the parent process wrote it
        if not isinstance(order, expected):
            raise UnavailableError(f"an order of another kind came: {type(order).__name__}")
        yield order


def _read(descriptor: int, length: int) -> bytes:
    """Exactly so many bytes; none where the pipe ends before."""
    found = bytearray()
    while len(found) < length:
        piece = os.read(descriptor, length - len(found))
        if not piece:
            return b""
        found += piece
    return bytes(found)
