"""The file: tables, settings, connections, and SQLite's errors in the words of the port.

A revision's row is short and its text lies elsewhere, so that intervals are read without the texts. Every generation has a table of
chunks of its own, which goes with it. Vectors are float32: scores are computed from what the embedder gave, and half of it would
save no more than a third of a file that holds the texts as well. All keys are given out by `head` and never again.
"""

import errno
import os
import sqlite3
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from headrace.foundation.errors import (
    CorruptDataError,
    DiskFullError,
    FinalError,
    HeadraceError,
    InvalidDeclarationError,
    StateVersionError,
    UnavailableError,
)

SCHEMA_VERSION = 1
READABLE_SINCE = "0.2.0"
"""The first Headrace that reads this schema; written into the file, so that an older one can name what it needs."""
APPLICATION_ID = 0x48524B42
"""'HRKB': the mark of a knowledge base in the file's header."""

BUSY_SECONDS = 30.0
"""For how long SQLite waits for another writer."""
_ROOM_BYTES = 1 << 16
_SETTINGS = (
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=OFF",
    "PRAGMA secure_delete=FAST",
    "PRAGMA wal_autocheckpoint=2048",
    "PRAGMA journal_size_limit=67108864",
    "PRAGMA cache_size=-16384",
    "PRAGMA temp_store=MEMORY",
)
_TABLES = f"""
CREATE TABLE about(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO about VALUES ('readable_since', '{READABLE_SINCE}'), ('id', lower(hex(randomblob(8))));
CREATE TABLE head(
  one INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, holder TEXT NOT NULL, seq INTEGER NOT NULL, purged INTEGER NOT NULL,
  next_key INTEGER NOT NULL);
INSERT INTO head VALUES (1, 0, '', 0, 0, 1);
CREATE TABLE offsets(topic TEXT PRIMARY KEY, next INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE state(key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE models(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE generations(
  id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, model_id INTEGER NOT NULL, model TEXT NOT NULL, dimension INTEGER NOT NULL,
  chunker TEXT NOT NULL, state TEXT NOT NULL, created_ms INTEGER NOT NULL, activated_ms INTEGER NOT NULL,
  retired_ms INTEGER NOT NULL);
CREATE TABLE documents(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, newest TEXT NOT NULL);
CREATE TABLE revisions(
  key INTEGER PRIMARY KEY, document INTEGER NOT NULL, seq INTEGER NOT NULL, deleted INTEGER NOT NULL, canary INTEGER NOT NULL,
  visible_from INTEGER NOT NULL, visible_to INTEGER NOT NULL, valid_from INTEGER NOT NULL, valid_to INTEGER NOT NULL,
  version TEXT NOT NULL, media TEXT NOT NULL, title TEXT NOT NULL, metadata TEXT NOT NULL);
CREATE INDEX revisions_document ON revisions(document);
CREATE INDEX revisions_seq ON revisions(seq);
CREATE INDEX revisions_visible_from ON revisions(visible_from);
CREATE INDEX revisions_valid_from ON revisions(valid_from);
CREATE TABLE texts(revision INTEGER PRIMARY KEY, text TEXT NOT NULL);
CREATE TABLE metadata(
  revision INTEGER NOT NULL, name TEXT NOT NULL, kind INTEGER NOT NULL, value NOT NULL, rest TEXT NOT NULL,
  PRIMARY KEY(revision, name)) WITHOUT ROWID;
CREATE INDEX metadata_value ON metadata(name, kind, value, rest);
CREATE TABLE cuts(
  generation INTEGER NOT NULL, revision INTEGER NOT NULL, chunks INTEGER NOT NULL, PRIMARY KEY(generation, revision)) WITHOUT ROWID;
CREATE TABLE vectors(key INTEGER PRIMARY KEY, model INTEGER NOT NULL, hash BLOB NOT NULL, vector BLOB NOT NULL);
CREATE UNIQUE INDEX vectors_hash ON vectors(model, hash);
CREATE TABLE terms(id INTEGER PRIMARY KEY, term TEXT NOT NULL UNIQUE);
PRAGMA application_id={APPLICATION_ID};
PRAGMA user_version={SCHEMA_VERSION};
"""
CHUNK_TABLE = """
CREATE TABLE chunks_{generation}(
  key INTEGER PRIMARY KEY, revision INTEGER NOT NULL, number INTEGER NOT NULL, start INTEGER NOT NULL, length INTEGER NOT NULL,
  vector INTEGER NOT NULL, terms BLOB NOT NULL, headings TEXT NOT NULL, text TEXT NOT NULL);
CREATE INDEX chunks_{generation}_revision ON chunks_{generation}(revision);
CREATE INDEX chunks_{generation}_vector ON chunks_{generation}(vector)
"""


class Database:
    """The file, and connections to it for as many threads as read at once."""

    def __init__(self, path: Path) -> None:
        """Creates what is missing; errors as in `open_store`."""
        self.path = path
        self._idle: deque[sqlite3.Connection] = deque()
        self._lock = Lock()
        self._closed = False
        with translated(path):
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self.id = self._prepare()

    def connect(self, *, writable: bool = False) -> sqlite3.Connection:
        """A connection in autocommit mode, usable from any one thread at a time."""
        connection = sqlite3.connect(
            self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        for setting in (*_SETTINGS, f"PRAGMA query_only={'OFF' if writable else 'ON'}"):
            connection.execute(setting)
        return connection

    @contextmanager
    def snapshot(self) -> Generator[sqlite3.Connection]:
        """Lends a connection whose reads all see one state of the file; SQLite's errors leave it as the port's."""
        with translated(self.path):
            connection = self._borrow()
            try:
                connection.execute("BEGIN")
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                self._give_back(connection)

    def close(self) -> None:
        """Closes every connection that is not lent; the others are closed when they come back."""
        with self._lock:
            self._closed = True
            idle = list(self._idle)
            self._idle.clear()
        for connection in idle:
            connection.close()

    def _borrow(self) -> sqlite3.Connection:
        with self._lock:
            if self._closed:
                raise FinalError("the knowledge store is closed", where=str(self.path))
            if self._idle:
                return self._idle.pop()
        return self.connect()

    def _give_back(self, connection: sqlite3.Connection) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(connection)
                return
        connection.close()

    def _prepare(self) -> str:
        """Creates or checks the tables; returns the file's own id."""
        connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None)
        try:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                self._create(connection)
            elif version > SCHEMA_VERSION:
                raise self._newer(connection, version)
            elif connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
                raise self._foreign()
            return connection.execute("SELECT value FROM about WHERE name = 'id'").fetchone()[0]
        finally:
            connection.close()

    def _create(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA page_size=8192")
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        if connection.execute("PRAGMA journal_mode=WAL").fetchone()[0] != "wal":
            raise UnavailableError(
                "this file system cannot hold a knowledge store: it lacks shared memory or locks",
                where=str(self.path),
                next_step="put the state directory on a local disk",
            )
        connection.execute("BEGIN IMMEDIATE")
        if connection.execute("PRAGMA user_version").fetchone()[0]:
            connection.execute("ROLLBACK")  # another process was faster
            return
        if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise self._foreign()
        for statement in _TABLES.split(";\n"):
            connection.execute(statement)
        connection.execute("COMMIT")

    def _newer(self, connection: sqlite3.Connection, version: int) -> StateVersionError:
        row = connection.execute("SELECT value FROM about WHERE name='readable_since'").fetchone()
        needed = f"Headrace {row[0]} or newer" if row else "a newer Headrace"
        return StateVersionError(
            f"the knowledge store has schema {version}, and this Headrace knows schemas up to {SCHEMA_VERSION}",
            where=str(self.path),
            next_step=f"use {needed}, or another state directory",
        )

    def _foreign(self) -> CorruptDataError:
        return CorruptDataError(
            "this SQLite file is not a knowledge store of Headrace",
            where=str(self.path),
            next_step="use another state directory",
        )


@contextmanager
def translated(path: Path) -> Generator[None]:
    """Raises what SQLite and the file system raise as the errors of the port."""
    try:
        yield
    except (sqlite3.Error, OSError, UnicodeError, OverflowError) as error:
        raise translate(error, path) from error


def translate(error: Exception, path: Path) -> HeadraceError:
    """The port's error for one of SQLite's or of the file system's."""
    where, text = str(path), f"the knowledge store: {error}"
    if isinstance(error, (UnicodeError, OverflowError)):
        return InvalidDeclarationError(
            text, where=where, next_step="give texts that UTF-8 can hold and numbers of 64 bits"
        )
    code = getattr(error, "sqlite_errorcode", None)
    primary = None if code is None else code & 0xFF
    if primary in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT}:
        return CorruptDataError(text, where=where, next_step="restore the file, or remove it and index again")
    if primary in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return UnavailableError(text, where=where, next_step="end the program that holds the file open, and try again")
    if primary == sqlite3.SQLITE_FULL or _no_room(error, primary, path):
        return DiskFullError(
            f"the disk has no room left for the knowledge store ({error})", where=where, next_step="make room"
        )
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
