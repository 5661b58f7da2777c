"""Shared by retention and compaction: the size of a step, and the bookkeeping after it."""

import sqlite3
from dataclasses import dataclass

from headrace.log.sqlite.queries import Stream, Topic

_RECORDS_PER_STEP = 5_000
_BYTES_PER_STEP = 16 << 20


@dataclass(frozen=True, slots=True)
class Dropped:
    """One step: the offset it reached, and what it dropped."""

    end: int
    records: int
    bytes: int
    """Bytes of their values."""


def droppable(connection: sqlite3.Connection, stream: int, start: int, bound: int, cutoff: int) -> Dropped:
    """The records from `start` to `bound` that arrived before `cutoff`, at most one step's worth."""
    end, count, size = start, 0, 0
    cursor = connection.execute(
        f"SELECT offset, arrived_at, length(value) FROM records_{stream} WHERE offset >= ? AND offset < ? "
        f"ORDER BY offset LIMIT {_RECORDS_PER_STEP}",
        (start, bound),
    )
    for offset, arrived_at, length in cursor:
        if arrived_at >= cutoff or size > _BYTES_PER_STEP:
            break
        end, count, size = offset + 1, count + 1, size + length
    cursor.close()
    return Dropped(end, count, size)


def forget_ids(connection: sqlite3.Connection, topic: Topic, stream: Stream, end: int) -> None:
    """The ids of records before `end`, unless a newer record has the same id."""
    connection.execute(
        f"DELETE FROM ids_{topic.number} WHERE partition = ? AND offset < ? "
        f"AND digest IN (SELECT id_digest(id) FROM records_{stream.number} WHERE offset < ?)",
        (stream.partition, end, end),
    )


def move_start(connection: sqlite3.Connection, stream: int, dropped: Dropped) -> None:
    """Updates the stream once its records are gone."""
    connection.execute(
        f"UPDATE streams SET start_offset = coalesce((SELECT min(offset) FROM records_{stream}), end_offset), "
        "compacted_to = ?, bytes = bytes - ? WHERE id = ?",
        (dropped.end, dropped.bytes, stream),
    )
