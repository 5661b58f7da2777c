"""Maps SQLite and file system errors to `foundation/errors.py`."""

import errno
import os
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from headrace.foundation.errors import (
    CorruptDataError,
    DiskFullError,
    FinalError,
    HeadraceError,
    InvalidDeclarationError,
    UnavailableError,
)
from headrace.foundation.sqlite.schema import Schema

_ROOM_BYTES = 1 << 16
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT}
_HELD = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_TEMPORARY = {
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_AUTH,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_INTERRUPT,
}


@contextmanager
def translated(path: Path, schema: Schema) -> Generator[None]:
    """Re-raises SQLite and file system errors as Headrace errors."""
    try:
        yield
    except (sqlite3.Error, OSError, UnicodeError, OverflowError) as error:
        raise translate(error, path, schema) from error


def translate(error: Exception, path: Path, schema: Schema) -> HeadraceError:
    """The Headrace error for an SQLite error, a file system error, or a value that SQLite cannot store."""
    where, text = str(path), f"{schema.what}: {error}"
    if isinstance(error, (UnicodeError, OverflowError)):
        return InvalidDeclarationError(text, where=where, next_step="use valid UTF-8 text and 64-bit numbers")
    code = getattr(error, "sqlite_errorcode", None)
    primary = None if code is None else code & 0xFF
    if primary in _DAMAGED:
        return CorruptDataError(text, where=where, next_step=schema.damaged)
    if primary in _HELD:
        return UnavailableError(text, where=where, next_step="end the program that has the file open, then try again")
    if primary == sqlite3.SQLITE_FULL or _no_room(error, primary, path):
        return DiskFullError(
            f"the disk is full: {schema.what} cannot be written ({error})",
            where=where,
            next_step="free some disk space",
        )
    if isinstance(error, OSError) or primary in _TEMPORARY:
        return UnavailableError(text, where=where, next_step="check the disk and the folder's permissions")
    return FinalError(text, where=where)


def _no_room(error: Exception, primary: int | None, path: Path) -> bool:
    """Whether a write failed because the disk is full: SQLite reports some of these as I/O errors."""
    if isinstance(error, OSError):
        return error.errno in {errno.ENOSPC, errno.EDQUOT}
    if primary not in {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}:
        return False
    disk = os.statvfs(path.parent)
    return disk.f_bavail * disk.f_frsize < _ROOM_BYTES
