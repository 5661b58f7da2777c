"""Returns free pages to the disk."""

import sqlite3

from headrace.foundation.sqlite import BUSY_SECONDS
from headrace.log.sqlite.database import Database
from headrace.log.sqlite.group_writer import GroupWriter

_PAGES_PER_TRANSACTION = 2_000
_IDLE_WAL_BYTES = 4 << 20
_READERS_MILLISECONDS = 500
"""How long the last step waits for readers; nothing writes during that time."""


def give_back(database: Database, writer: GroupWriter, *, dropped: bool) -> None:
    """Moves free pages to the end of the file and truncates it there. Pages that a reader still needs stay until the next run."""
    if dropped or writer.outside_transaction(_free_pages) or database.file.wal_size() > _IDLE_WAL_BYTES:
        while writer.outside_transaction(_vacuum_some):
            pass
        writer.outside_transaction(lambda connection: empty_wal(connection, _READERS_MILLISECONDS))


def empty_wal(connection: sqlite3.Connection, patience_ms: int) -> bool:
    """Copies the write-ahead log into the file and truncates both. False: a reader still needed part of it when the time ran out."""
    connection.execute(f"PRAGMA busy_timeout={patience_ms}")
    try:
        busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()[0][0]
    finally:
        connection.execute(f"PRAGMA busy_timeout={int(BUSY_SECONDS * 1_000)}")
    return not busy


def _free_pages(connection: sqlite3.Connection) -> int:
    return connection.execute("PRAGMA freelist_count").fetchone()[0]


def _vacuum_some(connection: sqlite3.Connection) -> bool:
    """Moves free pages to the end of the file; returns whether there are more."""
    before = _free_pages(connection)
    connection.executescript(
        f"PRAGMA incremental_vacuum({_PAGES_PER_TRANSACTION})"
    )  # `execute` would free only one page
    return before > _free_pages(connection) > 0
