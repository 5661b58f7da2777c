"""Threads and child processes of a test."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from headrace.testing import log_writers

PATIENCE_SECONDS = 60.0
Child = subprocess.Popen[bytes]
Work = Literal["append_one", "count_up", "write_for_ever"]
"""A name in `log_writers.WORKS`."""


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


@contextmanager
def child(
    work: Work, technology: str, state: Path, name: str = "child", options: Mapping[str, str] | None = None
) -> Generator[Child]:
    """Runs a work in a process of its own, which does not outlive the context."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            log_writers.__name__,
            work,
            technology,
            str(state),
            name,
            json.dumps(dict(options or {})),
        ]
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(PATIENCE_SECONDS)


def end(process: Child) -> None:
    """Waits until it has done its work."""
    assert process.wait(PATIENCE_SECONDS) == 0


def kill(process: Child) -> None:
    """Kills it, which must still be at work."""
    process.kill()
    assert process.wait(PATIENCE_SECONDS) == -signal.SIGKILL
