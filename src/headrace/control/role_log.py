"""The standard output and error of a role's process, in a file of bounded size.

The process, and what it starts, hold the file open and append to it, so it cannot be renamed. Its content is copied to a second file
and cut off; a line written between copy and cut is lost, so the copy reads to the very end first.
"""

import os
import shutil
from collections.abc import Callable, Generator
from pathlib import Path
from typing import IO

LIMIT_BYTES = 16 << 20
"""Of the file and of the one beside it, each."""
_TAIL_BYTES = 16 << 10


class RoleLog:
    """The log of one role."""

    def __init__(self, state: Path, role: str) -> None:
        self.path = state / "logs" / f"{role.replace('/', '.')}.log"
        self.former = self.path.with_suffix(".log.1")
        """The older half; replaced when the file is full again."""

    def open(self) -> IO[bytes]:
        """For the process to append to."""
        self.path.parent.mkdir(exist_ok=True, mode=0o700)
        return self.path.open("ab")

    def bound(self, limit: int = LIMIT_BYTES) -> bool:
        """If the file exceeds `limit` bytes, moves its last `limit` bytes to the second file."""
        if not self.path.exists() or self.path.stat().st_size <= limit:
            return False
        copied = self.former.with_suffix(".part")
        with self.path.open("r+b") as full, copied.open("wb") as kept:
            full.seek(-limit, os.SEEK_END)
            shutil.copyfileobj(full, kept)
            full.truncate(0)
        copied.replace(self.former)
        return True

    def errors(self) -> list[str]:
        """The last lines that say an error."""
        text = b"".join(_tail(path) for path in (self.former, self.path)).decode(errors="replace")
        return [line for line in text.splitlines() if line.startswith("error: ")]

    def text(self, more: Callable[[], bool]) -> Generator[str]:
        """The whole log in order; then new lines for as long as `more` returns true."""
        if self.former.exists():
            yield self.former.read_text(errors="replace")
        with self.path.open(errors="replace") as file:
            while True:
                if file.tell() > self.path.stat().st_size:  # it was cut in between
                    file.seek(0)
                if text := file.read():
                    yield text
                elif not more():
                    return


def role_logs(state: Path) -> list[str]:
    """Names of the roles that have a log."""
    folder = state / "logs"
    return sorted(path.stem for path in folder.glob("*.log")) if folder.is_dir() else []


def _tail(path: Path) -> bytes:
    if not path.exists():
        return b""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        return file.read()
