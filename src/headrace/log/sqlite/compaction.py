"""Retention by key: among the records that retention would drop, keeps the newest of each key.

Each step examines the next records that are old enough and that every group has passed. It drops records without a key,
tombstones, records that a newer one replaces, and the records kept by earlier steps that these replace.
"""

import sqlite3

from headrace.log.sqlite.dropping import Dropped, droppable, move_start
from headrace.log.sqlite.queries import Stream, Topic

_Row = tuple[int, bytes, bytes, int]
"""offset, digest of the id, digest of the key, bytes"""
_COLUMNS = "offset, id_digest(id), id_digest(key), length(value)"


def compact_some(
    connection: sqlite3.Connection, topic: Topic, stream: Stream, bound: int, cutoff: int
) -> Dropped | None:
    """One bounded step; None: nothing left to examine. A step may drop nothing."""
    found = droppable(connection, stream.number, stream.compacted_to, bound, cutoff)
    if not found.records:
        return None
    first = stream.compacted_to
    rows = [
        *_replaced(connection, stream.number, first, found.end),
        *_gone(connection, stream.number, first, found.end),
    ]
    _delete(connection, topic, stream, rows)
    done = Dropped(found.end, len(rows), sum(row[3] for row in rows))
    move_start(connection, stream.number, done)
    return done


def _gone(connection: sqlite3.Connection, stream: int, first: int, end: int) -> list[_Row]:
    """The records from `first` to `end` that are dropped."""
    return connection.execute(
        f"SELECT {_COLUMNS} FROM records_{stream} AS mine WHERE offset >= ? AND offset < ? AND (key = '' "
        f"OR length(value) = 0 OR EXISTS (SELECT 1 FROM keys_{stream} AS newer "
        "WHERE newer.digest = id_digest(mine.key) AND newer.offset > mine.offset))",
        (first, end),
    ).fetchall()


def _replaced(connection: sqlite3.Connection, stream: int, first: int, end: int) -> list[_Row]:
    """The kept records before `first` whose keys occur again in the records from `first` to `end`."""
    return connection.execute(
        f"SELECT {_COLUMNS} FROM records_{stream} WHERE offset IN (SELECT older.offset FROM "
        f"(SELECT DISTINCT id_digest(key) AS digest FROM records_{stream} WHERE offset >= ?1 AND offset < ?2 AND key <> '') "
        f"AS mine JOIN keys_{stream} AS older ON older.digest = mine.digest WHERE older.offset < ?1)",
        (first, end),
    ).fetchall()


def _delete(connection: sqlite3.Connection, topic: Topic, stream: Stream, rows: list[_Row]) -> None:
    connection.executemany(
        f"DELETE FROM records_{stream.number} WHERE offset = ?", ((offset,) for offset, _, _, _ in rows)
    )
    connection.executemany(
        f"DELETE FROM keys_{stream.number} WHERE digest = ? AND offset = ?",
        ((key, offset) for offset, _, key, _ in rows),
    )
    if topic.indexed:
        connection.executemany(
            f"DELETE FROM ids_{topic.number} WHERE digest = ? AND partition = ? AND offset = ?",
            ((record_id, stream.partition, offset) for offset, record_id, _, _ in rows),
        )
