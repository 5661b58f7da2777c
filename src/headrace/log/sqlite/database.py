"""The file: tables, settings, connections, and SQLite's errors in the words of the port.

Every (topic, partition) is a stream with a table of its own, `records_N`: its records lie in the order of their offsets, appending
touches its last page only, and dropping the oldest frees whole pages. Values come last in a row, so that what reads ids or
times does not walk through them.
"""

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
    StateVersionError,
    UnavailableError,
)
from headrace.log.sqlite.turn import WriteTurn

SCHEMA_VERSION = 1
READABLE_SINCE = "0.1.0"
"""The first Headrace that reads this schema; written into the file, so that an older one can name what it needs."""
APPLICATION_ID = 0x48524C47
"""'HRLG': the mark of a log in the file's header."""

BUSY_SECONDS = 30.0
"""For how long SQLite itself waits for programs that do not take turns, such as its own shell."""
_ROOM_BYTES = 1 << 16
_SETTINGS = (
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=OFF",
    "PRAGMA secure_delete=FAST",  # what is trimmed leaves with its pages; writing zeros first would double the work
    "PRAGMA wal_autocheckpoint=4096",
    "PRAGMA journal_size_limit=67108864",
    "PRAGMA cache_size=-8192",
)
_TABLES = f"""
CREATE TABLE about(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO about VALUES ('readable_since', '{READABLE_SINCE}');
CREATE TABLE topics(
  id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, partitions INTEGER NOT NULL, retention_ms INTEGER, unique_ids INTEGER NOT NULL);
CREATE TABLE streams(
  id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL, partition INTEGER NOT NULL, start_offset INTEGER NOT NULL,
  end_offset INTEGER NOT NULL, bytes INTEGER NOT NULL, UNIQUE(topic_id, partition));
CREATE TABLE offsets(
  topic_id INTEGER NOT NULL, partition INTEGER NOT NULL, group_name TEXT NOT NULL, next_offset INTEGER NOT NULL, hold INTEGER,
  PRIMARY KEY(topic_id, partition, group_name)) WITHOUT ROWID;
CREATE TABLE state(
  owner TEXT NOT NULL, key TEXT NOT NULL, version INTEGER NOT NULL, value BLOB NOT NULL, PRIMARY KEY(owner, key)) WITHOUT ROWID;
CREATE TABLE leases(role TEXT PRIMARY KEY, epoch INTEGER NOT NULL, holder TEXT NOT NULL) WITHOUT ROWID;
PRAGMA application_id={APPLICATION_ID};
PRAGMA user_version={SCHEMA_VERSION};
"""


class Database:
    """`STATE/log.sqlite` and the lock files beside it."""

    def __init__(self, state: Path) -> None:
        """Creates what is missing; errors as in `open_log`."""
        self.path = state / "log.sqlite"
        with translated(self.path):
            state.mkdir(parents=True, exist_ok=True)
            self.turn = WriteTurn(state)
            try:
                with self.turn:
                    self._prepare()
            except BaseException:
                self.turn.close()
                raise

    def connect(self, *, writable: bool = False) -> sqlite3.Connection:
        """A connection in autocommit mode, usable from any one thread at a time."""
        connection = sqlite3.connect(
            self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        for setting in (*_SETTINGS, f"PRAGMA query_only={'OFF' if writable else 'ON'}"):
            connection.execute(setting)
        return connection

    def size(self) -> int:
        """Bytes on disk: the file and its write-ahead log."""
        return self.path.stat().st_size + self.wal_size()

    def wal_size(self) -> int:
        """Bytes of the write-ahead log."""
        wal = self.path.with_name("log.sqlite-wal")
        return wal.stat().st_size if wal.exists() else 0

    def _prepare(self) -> None:
        connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None)
        try:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                self._create(connection)
            elif version > SCHEMA_VERSION:
                raise self._newer(connection, version)
            elif connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
                raise self._foreign()
        finally:
            connection.close()

    def _create(self, connection: sqlite3.Connection) -> None:
        if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise self._foreign()
        connection.execute("PRAGMA page_size=8192")
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        if connection.execute("PRAGMA journal_mode=WAL").fetchone()[0] != "wal":
            raise UnavailableError(
                "this file system cannot hold the log: it lacks shared memory or locks",
                where=str(self.path),
                next_step="put the state directory on a local disk",
            )
        connection.executescript(f"BEGIN IMMEDIATE; {_TABLES} COMMIT;")

    def _newer(self, connection: sqlite3.Connection, version: int) -> StateVersionError:
        row = connection.execute("SELECT value FROM about WHERE name='readable_since'").fetchone()
        needed = f"Headrace {row[0]} or newer" if row else "a newer Headrace"
        return StateVersionError(
            f"the log has schema {version}, and this Headrace knows schemas up to {SCHEMA_VERSION}",
            where=str(self.path),
            next_step=f"use {needed}, or another state directory",
        )

    def _foreign(self) -> CorruptDataError:
        return CorruptDataError(
            "this SQLite file is not a log of Headrace", where=str(self.path), next_step="use another state directory"
        )


@contextmanager
def translated(path: Path) -> Generator[None]:
    """Raises what SQLite and the file system raise as the errors of the port."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise translate(error, path) from error


def translate(error: Exception, path: Path) -> HeadraceError:
    """The port's error for one of SQLite's or of the file system's."""
    where, text = str(path), f"the log: {error}"
    code = getattr(error, "sqlite_errorcode", None)
    primary = None if code is None else code & 0xFF
    if primary in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT}:
        return CorruptDataError(text, where=where, next_step="restore the state directory, or start a new one")
    if primary in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return UnavailableError(text, where=where, next_step="end the program that holds the file open, and try again")
    if primary == sqlite3.SQLITE_FULL or _no_room(error, primary, path):
        return DiskFullError(f"the disk has no room left for the log ({error})", where=where, next_step="make room")
    if isinstance(error, OSError) or primary in _TEMPORARY:
        return UnavailableError(text, where=where, next_step="check the disk and the folder's permissions")
    return FinalError(text, where=where)


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


def _no_room(error: Exception, primary: int | None, path: Path) -> bool:
    """Whether a failed write failed for want of room: SQLite reports some of these as errors of input and output."""
    if isinstance(error, OSError):
        return error.errno in {errno.ENOSPC, errno.EDQUOT}
    if primary not in {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}:
        return False
    disk = os.statvfs(path.parent)
    return disk.f_bavail * disk.f_frsize < _ROOM_BYTES
