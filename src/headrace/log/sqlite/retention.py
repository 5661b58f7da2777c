"""Drops what retention allows and returns the space to the disk.

A record may be dropped once it is older (by arrival) than its topic's retention and every consumer group of the topic has passed it
(`hold`, otherwise `next_offset`). The work is split into small transactions, so that writers run in between.
"""

import sqlite3

from headrace.log.sqlite import compaction
from headrace.log.sqlite.database import Database
from headrace.log.sqlite.dropping import Dropped, droppable, forget_ids, move_start
from headrace.log.sqlite.group_writer import GroupWriter
from headrace.log.sqlite.queries import Stream, Topic, all_topics, streams_of
from headrace.log.sqlite.space import give_back
from headrace.log.topic_log import TrimReport


def trim(database: Database, writer: GroupWriter, now_ms: int) -> TrimReport:
    """Drops what retention allows, moves the free pages to the end of the file and truncates it there."""
    with database.file.translated():
        before = database.file.size()
    records = 0
    while step := writer.write(lambda connection, _: _drop_some(connection, now_ms)):
        records += step.records
    give_back(database, writer, dropped=records > 0)
    with database.file.translated():
        return TrimReport(records, max(0, before - database.file.size()))


def _drop_some(connection: sqlite3.Connection, now_ms: int) -> Dropped | None:
    """Drops a bounded number of records from the first stream that has any to drop; None: none has."""
    for topic in all_topics(connection):
        if topic.spec.retention_ms is None:
            continue
        cutoff = now_ms - topic.spec.retention_ms
        for stream in streams_of(connection, topic):
            step = compaction.compact_some if topic.spec.compacted else _drop_oldest
            if done := step(connection, topic, stream, _bound(connection, topic, stream), cutoff):
                return done
    return None


def _bound(connection: sqlite3.Connection, topic: Topic, stream: Stream) -> int:
    """The lowest offset that any of the topic's groups may still read. A group that never read the partition holds all of it."""
    row = connection.execute(
        "SELECT min(coalesce(mine.hold, mine.next_offset, 0)) FROM "
        "(SELECT DISTINCT group_name FROM offsets WHERE topic_id = ?1) AS groups LEFT JOIN offsets AS mine "
        "ON mine.topic_id = ?1 AND mine.partition = ?2 AND mine.group_name = groups.group_name",
        (topic.number, stream.partition),
    ).fetchone()
    return stream.end if row[0] is None else row[0]


def _drop_oldest(
    connection: sqlite3.Connection, topic: Topic, stream: Stream, bound: int, cutoff: int
) -> Dropped | None:
    found = droppable(connection, stream.number, stream.start, bound, cutoff)
    if not found.records:
        return None
    if topic.indexed:
        forget_ids(connection, topic, stream, found.end)
    connection.execute(f"DELETE FROM records_{stream.number} WHERE offset < ?", (found.end,))
    move_start(connection, stream.number, found)
    return found
