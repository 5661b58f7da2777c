"""Makes a file and its directory readable by their owner only, whatever their permissions were before."""

import os
import stat
import threading
from pathlib import Path

from headrace.foundation.errors import InvalidDeclarationError

_BESIDE = ("-wal", "-shm", "-journal")
"""Files that SQLite keeps beside the main one. New ones inherit its permissions; older ones may be world-readable."""
_CREATING = threading.Lock()


def make_private(path: Path) -> None:
    """Creates the file and its directory if needed, and removes everyone else's permissions. OSError: we may not change them.

    An existing file is never opened: closing it would release this process's SQLite locks on it, and another
    process could remove a write-ahead log that is in use.
    """
    make_directory_private(path.parent)
    with _CREATING:
        _create(path)
    for suffix in ("", *_BESIDE):
        _tighten(path.with_name(path.name + suffix))


def make_directory_private(directory: Path) -> None:
    """Sets 0700 on a missing or open directory. InvalidDeclarationError: all users share it, such as /tmp."""
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
        return  # no such file, or another process has just closed it
