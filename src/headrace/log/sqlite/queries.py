"""What is read from the log. Every function takes a connection and sees one committed state."""

import sqlite3
from difflib import get_close_matches

from headrace.foundation.errors import NotFoundError
from headrace.log.record import Record
from headrace.log.topic_log import GroupOffset, StateEntry, TopicInfo, TopicSpec

_RECORD = "offset, id, kind, value, event_time, key, origin, ingested_at"
_TOPICS = (
    "SELECT name, partitions, retention_ms, unique_ids, min(start_offset), max(end_offset), sum(bytes) "
    "FROM topics JOIN streams ON topic_id = topics.id"
)
TopicRow = tuple[int, int, int | None, int]
"""id, partitions, retention_ms, unique_ids"""


TopicInfoRow = tuple[str, int, int | None, int, int, int, int]


def topic_row(connection: sqlite3.Connection, name: str) -> TopicRow:
    """NotFoundError names the nearest topics."""
    row = find_topic(connection, name)
    if row is None:
        raise no_topic(connection, name)
    return row


def no_topic(connection: sqlite3.Connection, name: str) -> NotFoundError:
    names = [other for (other,) in connection.execute("SELECT name FROM topics")]
    near = get_close_matches(name, names, n=3) or sorted(names)[:3]
    return NotFoundError(
        f"there is no topic {name!r}",
        next_step=f"the nearest are {', '.join(near)}" if near else "the log has no topics yet",
    )


def find_topic(connection: sqlite3.Connection, name: str) -> TopicRow | None:
    return connection.execute(
        "SELECT id, partitions, retention_ms, unique_ids FROM topics WHERE name = ?", (name,)
    ).fetchone()


def stream_of(connection: sqlite3.Connection, topic: str, partition: int) -> tuple[int, int, int, bool]:
    """Stream id, topic id, end offset, unique ids. NotFoundError where topic or partition was never ensured."""
    row = connection.execute(
        "SELECT streams.id, topic_id, end_offset, unique_ids FROM topics JOIN streams ON topic_id = topics.id "
        "WHERE name = ? AND partition = ?",
        (topic, partition),
    ).fetchone()
    if row is None:
        partitions = topic_row(connection, topic)[1]
        raise NotFoundError(f"the topic {topic!r} has partitions 0 to {partitions - 1}, none of number {partition}")
    return row[0], row[1], row[2], bool(row[3])


def list_topics(connection: sqlite3.Connection) -> list[TopicInfo]:
    return [_topic_info(row) for row in connection.execute(f"{_TOPICS} GROUP BY topics.id ORDER BY name")]


def get_topic(connection: sqlite3.Connection, name: str) -> TopicInfo:
    rows: list[TopicInfoRow] = connection.execute(f"{_TOPICS} WHERE name = ? GROUP BY topics.id", (name,)).fetchall()
    if not rows:
        raise no_topic(connection, name)
    return _topic_info(rows[0])


def _topic_info(row: TopicInfoRow) -> TopicInfo:
    name, partitions, retention_ms, unique_ids, start, end, size = row
    return TopicInfo(TopicSpec(name, partitions, retention_ms, bool(unique_ids)), start, end, size)


def read_records(
    connection: sqlite3.Connection, stream: int, offset: int, max_records: int, max_bytes: int
) -> list[Record]:
    """Up to `max_records` records and `max_bytes` of their values, but at least one record where there is one."""
    records: list[Record] = []
    room = max_bytes
    cursor = connection.execute(
        f"SELECT {_RECORD} FROM records_{stream} WHERE offset >= ? ORDER BY offset LIMIT ?",
        (offset, max(1, max_records)),
    )
    for row in cursor:
        room -= len(row[3])
        if room < 0 and records:
            break
        records.append(Record(*row))
    cursor.close()
    return records


def find_record(connection: sqlite3.Connection, topic: str, record_id: str) -> Record | None:
    """The newest record of an id: by index where the topic keeps ids unique, else by a scan."""
    topic_id, partitions, _, unique = topic_row(connection, topic)
    if unique:
        place = connection.execute(
            f"SELECT partition, offset FROM ids_{topic_id} WHERE id = ?", (record_id,)
        ).fetchone()
        if place is None:
            return None
        where, values = "offset = ?", place[1]
        streams = [stream_of(connection, topic, place[0])[0]]
    else:
        where, values = "id = ?", record_id
        streams = [stream_of(connection, topic, partition)[0] for partition in range(partitions)]
    newest = [
        connection.execute(
            f"SELECT arrived_at, {_RECORD} FROM records_{stream} WHERE {where} ORDER BY offset DESC LIMIT 1", (values,)
        ).fetchone()
        for stream in streams
    ]
    found = max((row for row in newest if row is not None), default=None, key=lambda row: row[0])
    return None if found is None else Record(*found[1:])


def get_offset(connection: sqlite3.Connection, group: str, topic: str, partition: int) -> int:
    row = connection.execute(
        "SELECT next_offset FROM offsets WHERE topic_id = ? AND partition = ? AND group_name = ?",
        (topic_row(connection, topic)[0], partition, group),
    ).fetchone()
    return row[0] if row else 0


def list_groups(connection: sqlite3.Connection, topic: str) -> list[GroupOffset]:
    rows = connection.execute(
        "SELECT group_name, next_offset, partition, hold FROM offsets WHERE topic_id = ? ORDER BY group_name, partition",
        (topic_row(connection, topic)[0],),
    )
    return [GroupOffset(group, topic, offset, partition, hold) for group, offset, partition, hold in rows]


def get_state(connection: sqlite3.Connection, owner: str, prefix: str) -> dict[str, StateEntry]:
    entries: dict[str, StateEntry] = {}
    cursor = connection.execute(
        "SELECT key, value, version FROM state WHERE owner = ? AND key >= ? ORDER BY key", (owner, prefix)
    )
    for key, value, version in cursor:
        if not key.startswith(prefix):
            break
        entries[key] = StateEntry(value, version)
    cursor.close()
    return entries
