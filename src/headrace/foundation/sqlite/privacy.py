"""A file and its directory are readable by their owner alone, whatever was there before."""

import os
import stat
from pathlib import Path

from headrace.foundation.errors import InvalidDeclarationError

_BESIDE = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a file. It gives new ones the rights of the file; older ones may be open to all."""


def make_private(path: Path) -> None:
    """Creates the file and its directory where they are missing, and takes every right from others. OSError: not ours to change."""
    make_directory_private(path.parent)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if stat.S_IMODE(os.fstat(handle).st_mode) != 0o600:
            os.fchmod(handle, 0o600)
    finally:
        os.close(handle)
    for suffix in _BESIDE:
        _tighten(path.with_name(path.name + suffix))


def make_directory_private(directory: Path) -> None:
    """0700 for a directory that is missing or open. InvalidDeclarationError: one that is shared by all users, such as /tmp."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    mode = stat.S_IMODE(directory.stat().st_mode)
    if mode & stat.S_ISVTX:
        raise InvalidDeclarationError(
            "this directory is shared by all users, and a state directory must be readable by its owner alone",
            where=str(directory),
            next_step="use a directory inside it",
        )
    if mode != 0o700:
        directory.chmod(0o700)


def _tighten(path: Path) -> None:
    try:
        if stat.S_IMODE(path.stat().st_mode) != 0o600:
            path.chmod(0o600)
    except FileNotFoundError:
        return  # nothing there, or another process has just closed the file
