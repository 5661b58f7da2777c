"""Server processes that outlive the command that started them, identified by their pid files.

`run/NAME.json` holds the pid and the process's start time, so that a reused pid is not mistaken for it.
"""

import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil

from headrace.foundation.clock import SYSTEM_CLOCK, Clock
from headrace.foundation.parent import die_with_parent as _die_with_parent

_CLOSE_SECONDS = 2.0
"""How far two readings of one start time may differ: the system clock is adjusted now and then."""
_spawner = ThreadPoolExecutor(1, thread_name_prefix="headrace-cluster")
"""Its single thread lives as long as this process: the kernel's "parent" is the thread that started a child."""
_children: dict[int, subprocess.Popen[bytes]] = {}
"""Children of this process, to be reaped when they end."""


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """One server of a folder: `run/NAME.json` identifies its process, `logs/NAME.out` has its output."""

    name: str
    directory: Path

    @property
    def pid_file(self) -> Path:
        return self.directory / "run" / f"{self.name}.json"

    @property
    def printed(self) -> Path:
        return self.directory / "logs" / f"{self.name}.out"

    def spawn(self, command: Sequence[str], environ: Mapping[str, str], *, die_with_parent: bool) -> None:
        """Starts it in its own session. `die_with_parent`: the kernel kills it when this process ends (Linux)."""
        for folder in (self.pid_file.parent, self.printed.parent):
            folder.mkdir(parents=True, exist_ok=True)
        process = _spawner.submit(self._spawn, command, environ, die_with_parent).result()
        _children[process.pid] = process
        started = psutil.Process(process.pid).create_time()
        fresh = self.pid_file.with_suffix(".new")
        fresh.write_text(json.dumps({"pid": process.pid, "started": started}), "utf-8")
        fresh.replace(self.pid_file)

    def _spawn(
        self, command: Sequence[str], environ: Mapping[str, str], die_with_parent: bool
    ) -> subprocess.Popen[bytes]:
        with self.printed.open("wb") as out:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=self.directory, env=dict(environ),
                start_new_session=True,
                preexec_fn=_die_with_parent if die_with_parent else None,  # noqa: PLW1509 - one call, loaded before
            )  # fmt: skip

    def process(self) -> psutil.Process | None:
        """The live process; None: it never ran, it ended, or its pid has been reused."""
        try:
            known = json.loads(self.pid_file.read_text("utf-8"))
        except FileNotFoundError:
            return None
        if (child := _children.get(known["pid"])) is not None and child.poll() is not None:
            del _children[known["pid"]]
            return None
        try:
            found = psutil.Process(known["pid"])
            same = abs(found.create_time() - known["started"]) <= _CLOSE_SECONDS
            return found if same and found.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None

    def send(self, what: signal.Signals) -> None:
        """Sends a signal if it is alive."""
        if (found := self.process()) is not None:
            try:
                os.kill(found.pid, what)
            except ProcessLookupError:
                return

    def wait_until_gone(self, seconds: float, clock: Clock = SYSTEM_CLOCK) -> bool:
        """Whether it ended in time."""
        deadline = clock.monotonic() + seconds
        while self.process() is not None:
            if clock.monotonic() > deadline:
                return False
            clock.sleep(0.02)
        self.pid_file.unlink(missing_ok=True)
        return True

    def last_words(self, log: Path) -> str:
        """Why it ended, for an error's text: its last error and what follows, otherwise its last lines."""
        for path in (log, self.printed):
            lines = path.read_text("utf-8", errors="replace").splitlines()[-80:] if path.exists() else []
            errors = [at for at, line in enumerate(lines) if " ERROR " in line or " FATAL " in line]
            if lines:
                chosen = lines[errors[-1] : errors[-1] + 4] if errors else lines[-4:]
                return "\n".join(line[:300] for line in chosen)
        return "it printed nothing"


def stop_all(processes: Sequence[ServerProcess], *, patience_seconds: float) -> None:
    """Asks all of them to stop, and kills those that do not within the timeout."""
    for process in processes:
        process.send(signal.SIGTERM)
    for process in processes:
        if not process.wait_until_gone(patience_seconds):
            process.send(signal.SIGKILL)
            process.wait_until_gone(patience_seconds)
