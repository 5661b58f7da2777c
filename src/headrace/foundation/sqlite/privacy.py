"""A file and its directory are readable by their owner alone, whatever was there before."""

import os
import stat
import threading
from pathlib import Path

from headrace.foundation.errors import InvalidDeclarationError

_BESIDE = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a file. It gives new ones the rights of the file; older ones may be open to all."""
_CREATING = threading.Lock()


def make_private(path: Path) -> None:
    """Creates the file and its directory where they are missing, and takes every right from others. OSError: not ours to change.

    A file that is there is never opened: closing it would release SQLite's locks on it for every connection of this process, and another
    process would take away a write-ahead log that is in use.
    """
    make_directory_private(path.parent)
    with _CREATING:
        _create(path)
    for suffix in ("", *_BESIDE):
        _tighten(path.with_name(path.name + suffix))


def make_directory_private(directory: Path) -> None:
    """0700 for a directory that is missing or open. InvalidDeclarationError: one that is shared by all users, such as /tmp."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    mode = stat.S_IMODE(directory.stat().st_mode)
    if mode & stat.S_ISVTX:
        raise InvalidDeclarationError(
            "all users share this directory, but a state directory must be private to its owner",
            where=str(directory),
            next_step="use a directory inside it",
        )
    if mode != 0o700:
        directory.chmod(0o700)


def _create(path: Path) -> None:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return


def _tighten(path: Path) -> None:
    try:
        if stat.S_IMODE(path.stat().st_mode) != 0o600:
            path.chmod(0o600)
    except FileNotFoundError:
        return  # nothing there, or another process has just closed the file
