"""How many threads a matrix product may use: one for few rows, where handing work over costs more than it saves."""

from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController

MANY_ROWS = 8
"""From here on a second thread pays. Below, and with another process on the cores, waiting for it costs several times the work."""


@contextmanager
def threads_for(rows: int) -> Generator[None]:
    """Holds BLAS to one thread while few rows are worked on; more rows use what the process was started with."""
    libraries = _libraries()
    if rows >= MANY_ROWS or not libraries:
        yield
        return
    before = [library.num_threads for library in libraries]
    for library in libraries:
        library.set_num_threads(1)
    try:
        yield
    finally:
        for library, threads in zip(libraries, before, strict=True):
            library.set_num_threads(threads)


@cache
def _libraries() -> list[Any]:
    """The BLAS libraries that this process has loaded."""
    return [library for library in ThreadpoolController().lib_controllers if library.user_api == "blas"]
