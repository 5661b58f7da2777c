"""The file: tables, settings, connections.

A revision's row is short and its text is stored elsewhere, so that intervals are read without the texts. Every generation has its own table of
chunks, dropped with it. Vectors are float32: scores use the embedder's full output, and half precision would
save at most a third of a file that also holds the texts. `head` assigns all keys and never reuses one.
"""

import sqlite3
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from headrace.foundation.errors import FinalError
from headrace.foundation.sqlite import Schema, SqliteFile

_SETTINGS = ("PRAGMA wal_autocheckpoint=2048", "PRAGMA cache_size=-16384", "PRAGMA temp_store=MEMORY")
_TABLES = """
INSERT INTO about VALUES ('id', lower(hex(randomblob(8))));
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
"""
SCHEMA = Schema(
    what="the knowledge store",
    application_id=0x48524B42,  # 'HRKB'
    version=1,
    readable_since="0.2.0",
    tables=_TABLES,
    damaged="restore the file, or remove it and rebuild the index",
)
CHUNK_TABLE = """
CREATE TABLE chunks_{generation}(
  key INTEGER PRIMARY KEY, revision INTEGER NOT NULL, number INTEGER NOT NULL, start INTEGER NOT NULL, length INTEGER NOT NULL,
  vector INTEGER NOT NULL, terms BLOB NOT NULL, headings TEXT NOT NULL, text TEXT NOT NULL);
CREATE INDEX chunks_{generation}_revision ON chunks_{generation}(revision);
CREATE INDEX chunks_{generation}_vector ON chunks_{generation}(vector)
"""


class Database:
    """The file, and as many connections to it as threads read at once."""

    def __init__(self, path: Path) -> None:
        """Creates what is missing; errors as in `open_store`."""
        self.path = path
        self._idle: deque[sqlite3.Connection] = deque()
        self._lock = Lock()
        self._closed = False
        self.file = SqliteFile(path, SCHEMA, _SETTINGS)
        self.file.prepare()
        with self.snapshot() as connection:
            self.id: str = connection.execute("SELECT value FROM about WHERE name = 'id'").fetchone()[0]

    @contextmanager
    def snapshot(self) -> Generator[sqlite3.Connection]:
        """Lends a connection whose reads all see one snapshot; maps SQLite's errors to the port's."""
        with self.file.translated():
            connection = self._borrow()
            try:
                connection.execute("BEGIN")
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                self._give_back(connection)

    def close(self) -> None:
        """Closes every connection not in use; the others are closed when they are returned."""
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
        return self.file.connect()

    def _give_back(self, connection: sqlite3.Connection) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(connection)
                return
        connection.close()
