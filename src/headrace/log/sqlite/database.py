"""The log's file: tables, settings, connections and migrations.

Every (topic, partition) is a stream with its own table `records_N`, ordered by offset: appending
touches only the last page, and dropping the oldest records frees whole pages. Values come last in a row, so that reading ids or
times does not scan them. A stream's number is never reused, so a reader that remembers the number of a deleted
topic finds no table instead of another topic's.

Indexes hold digests instead of ids and keys: they stay small, and nothing in them needs redaction.
"""

import sqlite3
from pathlib import Path

from headrace.foundation.sqlite import Schema, SqliteFile, run
from headrace.log.redaction import id_digest
from headrace.log.sqlite.turn import WriteTurn

_SETTINGS = ("PRAGMA wal_autocheckpoint=4096", "PRAGMA cache_size=-8192")
_TOPICS = """
CREATE TABLE topics(
  id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, partitions INTEGER NOT NULL, retention_ms INTEGER,
  unique_ids INTEGER NOT NULL, indexed_ids INTEGER NOT NULL, compacted INTEGER NOT NULL);
CREATE TABLE streams(
  id INTEGER PRIMARY KEY AUTOINCREMENT, topic_id INTEGER NOT NULL, partition INTEGER NOT NULL, start_offset INTEGER NOT NULL,
  end_offset INTEGER NOT NULL, bytes INTEGER NOT NULL, compacted_to INTEGER NOT NULL, UNIQUE(topic_id, partition));
"""
_TABLES = """
CREATE TABLE offsets(
  topic_id INTEGER NOT NULL, partition INTEGER NOT NULL, group_name TEXT NOT NULL, next_offset INTEGER NOT NULL, hold INTEGER,
  PRIMARY KEY(topic_id, partition, group_name)) WITHOUT ROWID;
CREATE TABLE state(
  owner TEXT NOT NULL, key TEXT NOT NULL, version INTEGER NOT NULL, value BLOB NOT NULL, PRIMARY KEY(owner, key)) WITHOUT ROWID;
CREATE TABLE leases(role TEXT PRIMARY KEY, epoch INTEGER NOT NULL, holder TEXT NOT NULL) WITHOUT ROWID;
"""
IDS_TABLE = """CREATE TABLE ids_{topic}(
  digest BLOB PRIMARY KEY, partition INTEGER NOT NULL, offset INTEGER NOT NULL) WITHOUT ROWID"""


def _from_1(connection: sqlite3.Connection) -> None:
    """Numbers that are never reused; digests instead of ids."""
    connection.create_function("id_digest", 1, id_digest, deterministic=True)
    run(connection, "ALTER TABLE topics RENAME TO old_topics;\nALTER TABLE streams RENAME TO old_streams;\n" + _TOPICS)
    run(
        connection,
        "INSERT INTO topics SELECT id, name, partitions, retention_ms, unique_ids, 0, 0 FROM old_topics;\n"
        "INSERT INTO streams SELECT id, topic_id, partition, start_offset, end_offset, bytes, 0 FROM old_streams;\n"
        "DROP TABLE old_topics;\nDROP TABLE old_streams;",
    )
    for (topic,) in connection.execute("SELECT id FROM topics WHERE unique_ids").fetchall():
        connection.execute(f"ALTER TABLE ids_{topic} RENAME TO old_ids")
        connection.execute(IDS_TABLE.format(topic=topic))
        connection.execute(f"INSERT INTO ids_{topic} SELECT id_digest(id), partition, offset FROM old_ids")
        connection.execute("DROP TABLE old_ids")


SCHEMA = Schema(
    what="the log",
    application_id=0x48524C47,  # 'HRLG'
    version=2,
    readable_since="0.2.0",
    tables=_TOPICS + _TABLES,
    migrations={1: _from_1},
    damaged="restore the state directory, or start a new one",
)


class Database:
    """`STATE/log.sqlite` and the lock files beside it."""

    def __init__(self, state: Path) -> None:
        """Creates the file if needed; errors as in `open_log`."""
        self.path = state / "log.sqlite"
        self.file = SqliteFile(self.path, SCHEMA, _SETTINGS)
        with self.file.translated():
            self.turn = WriteTurn(state)
        try:
            with self.turn:
                self.file.prepare()
        except BaseException:
            self.turn.close()
            raise

    def connect(self, *, writable: bool = False) -> sqlite3.Connection:
        """A connection in autocommit mode, usable from any one thread at a time."""
        connection = self.file.connect(writable=writable)
        connection.create_function("id_digest", 1, id_digest, deterministic=True)
        return connection
