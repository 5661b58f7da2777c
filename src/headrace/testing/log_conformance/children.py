"""Threads and child processes of a test."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from multiprocessing.context import SpawnProcess
from pathlib import Path

PATIENCE_SECONDS = 60.0
_SPAWN = multiprocessing.get_context("spawn")


def in_threads(work: Callable[[int], object], count: int) -> None:
    """Runs `work(0)` … in threads and raises what any of them raised."""
    errors: list[BaseException] = []

    def run(index: int) -> None:
        try:
            work(index)
        except BaseException as error:  # noqa: BLE001 - raised again below, in the test's own thread
            errors.append(error)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    for error in errors:
        raise error


def start(work: Callable[..., None], technology: str, state: Path, *args: str) -> SpawnProcess:
    process = _SPAWN.Process(target=work, args=(technology, state, *args), daemon=True)
    process.start()
    return process


def end(process: SpawnProcess) -> None:
    process.join(PATIENCE_SECONDS)
    assert process.exitcode == 0


def kill(process: SpawnProcess) -> None:
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join(PATIENCE_SECONDS)
    assert process.exitcode == -signal.SIGKILL


@contextmanager
def child(work: Callable[..., None], technology: str, state: Path) -> Generator[None]:
    process = start(work, technology, state)
    yield
    end(process)
