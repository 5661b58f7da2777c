"""What may go, and how the disk gets its space back.

A record may go once it is older than its topic's retention and every consumer group of the topic has passed it for good
(`hold`, else `next_offset`). Work is cut into small transactions, so that writers get their turn in between.
"""

import sqlite3

from headrace.log.sqlite.database import BUSY_SECONDS, Database, translated
from headrace.log.sqlite.group_writer import GroupWriter
from headrace.log.topic_log import TrimReport

_RECORDS_PER_TRANSACTION = 5_000
_BYTES_PER_TRANSACTION = 16 << 20
_PAGES_PER_TRANSACTION = 2_000
_IDLE_WAL_BYTES = 4 << 20
_READERS_MILLISECONDS = 500
"""For how long the last step waits for readers; nobody writes meanwhile."""


def trim(database: Database, writer: GroupWriter, now_ms: int) -> TrimReport:
    """Deletes what may go, moves the free pages to the end of the file and cuts the file there."""
    before = database.size()
    dropped = 0
    while step := writer.write(lambda connection, _: _drop_some(connection, now_ms)):
        dropped += step
    if dropped or writer.outside_transaction(_free_pages) or database.wal_size() > _IDLE_WAL_BYTES:
        while writer.outside_transaction(_vacuum_some):
            pass
        writer.outside_transaction(_cut_wal)
    with translated(database.path):
        return TrimReport(dropped, max(0, before - database.size()))


def _free_pages(connection: sqlite3.Connection) -> int:
    return connection.execute("PRAGMA freelist_count").fetchone()[0]


def _vacuum_some(connection: sqlite3.Connection) -> bool:
    """Moves free pages to the end of the file, where it will be cut; whether there are more."""
    before = _free_pages(connection)
    connection.executescript(
        f"PRAGMA incremental_vacuum({_PAGES_PER_TRANSACTION})"
    )  # `execute` would free one page only
    return before > _free_pages(connection) > 0


def _cut_wal(connection: sqlite3.Connection) -> None:
    """Copies the write-ahead log into the file and cuts both; what a reader still needs stays until the next time."""
    connection.execute(f"PRAGMA busy_timeout={_READERS_MILLISECONDS}")
    try:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        connection.execute(f"PRAGMA busy_timeout={int(BUSY_SECONDS * 1_000)}")


def _drop_some(connection: sqlite3.Connection, now_ms: int) -> int:
    """Deletes a bounded number of records of the first stream that has some to spare; 0: none has."""
    streams = connection.execute(
        "SELECT streams.id, topic_id, partition, unique_ids, start_offset, "
        "coalesce((SELECT min(coalesce(mine.hold, mine.next_offset, 0)) FROM "
        "   (SELECT DISTINCT group_name FROM offsets WHERE offsets.topic_id = topics.id) AS groups"
        "   LEFT JOIN offsets AS mine ON mine.topic_id = topics.id AND mine.partition = streams.partition "
        "   AND mine.group_name = groups.group_name), end_offset), ? - retention_ms "
        "FROM topics JOIN streams ON topic_id = topics.id WHERE retention_ms IS NOT NULL ORDER BY streams.id",
        (now_ms,),
    ).fetchall()
    for stream, topic, partition, unique, start, bound, cutoff in streams:
        end, size = _droppable(connection, stream, min(bound, start + _RECORDS_PER_TRANSACTION), cutoff)
        if end > start:
            if unique:
                connection.execute(
                    f"DELETE FROM ids_{topic} WHERE partition = ? AND offset < ? "
                    f"AND id IN (SELECT id FROM records_{stream} WHERE offset < ?)",
                    (partition, end, end),
                )
            connection.execute(f"DELETE FROM records_{stream} WHERE offset < ?", (end,))
            connection.execute(
                "UPDATE streams SET start_offset = ?, bytes = bytes - ? WHERE id = ?", (end, size, stream)
            )
            return end - start
    return 0


def _droppable(connection: sqlite3.Connection, stream: int, bound: int, cutoff: int) -> tuple[int, int]:
    """The offset up to which the records before `bound` are older than `cutoff`, and the bytes of their values."""
    end, size = 0, 0
    cursor = connection.execute(
        f"SELECT offset, arrived_at, length(value) FROM records_{stream} WHERE offset < ? ORDER BY offset", (bound,)
    )
    for offset, arrived_at, length in cursor:
        if arrived_at >= cutoff or size > _BYTES_PER_TRANSACTION:
            break
        end, size = offset + 1, size + length
    cursor.close()
    return end, size
