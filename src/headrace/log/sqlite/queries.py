"""Reads from the log. Every function takes a connection and sees one committed state."""

import sqlite3
from dataclasses import dataclass
from difflib import get_close_matches

from headrace.foundation.errors import NotFoundError
from headrace.log.record import Record
from headrace.log.redaction import id_digest
from headrace.log.topic_log import GroupOffset, StateEntry, TopicInfo, TopicSpec

RECORD = "offset, id, kind, value, event_time, key, origin, ingested_at"
_TOPIC = "topics.id, name, partitions, retention_ms, unique_ids, indexed_ids, compacted"
_STREAM = "streams.id, partition, start_offset, end_offset, bytes, compacted_to"

_INFO = (
    f"SELECT {_TOPIC}, min(start_offset), max(end_offset), sum(bytes) FROM topics JOIN streams ON topic_id = topics.id"
)


@dataclass(frozen=True, slots=True)
class Topic:
    """A row of `topics`."""

    number: int
    spec: TopicSpec

    @property
    def indexed(self) -> bool:
        """Whether it has an id table."""
        return self.spec.unique_ids or self.spec.indexed_ids


@dataclass(frozen=True, slots=True)
class Stream:
    """A row of `streams`: one partition of a topic, and its table."""

    number: int
    partition: int
    start: int
    end: int
    bytes: int
    compacted_to: int


def find_topic(connection: sqlite3.Connection, name: str) -> Topic | None:
    row = connection.execute(f"SELECT {_TOPIC} FROM topics WHERE name = ?", (name,)).fetchone()
    return None if row is None else _topic(row)


def get_topic(connection: sqlite3.Connection, name: str) -> Topic:
    """NotFoundError names the nearest topics."""
    topic = find_topic(connection, name)
    if topic is None:
        raise _no_topic(connection, name)
    return topic


def topic_number(connection: sqlite3.Connection, name: str) -> int:
    """The topic's number only, which every commit needs. NotFoundError names the nearest topics."""
    row = connection.execute("SELECT id FROM topics WHERE name = ?", (name,)).fetchone()
    if row is None:
        raise _no_topic(connection, name)
    return row[0]


def all_topics(connection: sqlite3.Connection) -> list[Topic]:
    return [_topic(row) for row in connection.execute(f"SELECT {_TOPIC} FROM topics ORDER BY name").fetchall()]


def streams_of(connection: sqlite3.Connection, topic: Topic) -> list[Stream]:
    """Every partition, in order."""
    rows = connection.execute(
        f"SELECT {_STREAM} FROM streams WHERE topic_id = ? ORDER BY partition", (topic.number,)
    ).fetchall()
    return [Stream(*row) for row in rows]


def get_stream(connection: sqlite3.Connection, name: str, partition: int) -> tuple[Topic, Stream]:
    """NotFoundError if the topic or partition was never created."""
    row = connection.execute(
        f"SELECT {_TOPIC}, {_STREAM} FROM topics JOIN streams ON topic_id = topics.id WHERE name = ? AND partition = ?",
        (name, partition),
    ).fetchone()
    if row is None:
        last = get_topic(connection, name).spec.partitions - 1
        raise NotFoundError(f"the topic {name!r} has partitions 0 to {last}, not {partition}")
    return _topic(row[:7]), Stream(*row[7:])


def list_topics(connection: sqlite3.Connection) -> list[TopicInfo]:
    return _infos(connection.execute(f"{_INFO} GROUP BY topics.id ORDER BY name"))


def topic_info(connection: sqlite3.Connection, name: str) -> TopicInfo:
    """NotFoundError names the nearest topics."""
    found = _infos(connection.execute(f"{_INFO} WHERE name = ? GROUP BY topics.id", (name,)))
    if not found:
        raise _no_topic(connection, name)
    return found[0]


def _infos(rows: sqlite3.Cursor) -> list[TopicInfo]:
    return [TopicInfo(_topic(row[:7]).spec, *row[7:]) for row in rows.fetchall()]


def read_records(
    connection: sqlite3.Connection, stream: int, offset: int, max_records: int, max_bytes: int
) -> list[Record]:
    """Up to `max_records` records and `max_bytes` of their values, but at least one record if there is one."""
    records: list[Record] = []
    room = max_bytes
    cursor = connection.execute(
        f"SELECT {RECORD} FROM records_{stream} WHERE offset >= ? ORDER BY offset LIMIT ?",
        (offset, max(1, max_records)),
    )
    for row in cursor:
        room -= len(row[3])
        if room < 0 and records:
            break
        records.append(Record(*row))
    cursor.close()
    return records


def find_record(connection: sqlite3.Connection, name: str, record_id: str) -> Record | None:
    """The newest record with an id: by index if the topic has one, otherwise by a scan."""
    topic = get_topic(connection, name)
    if topic.indexed:
        return _look_up(connection, topic, record_id)
    rows = [
        connection.execute(
            f"SELECT arrived_at, {RECORD} FROM records_{stream.number} WHERE id = ? ORDER BY offset DESC LIMIT 1",
            (record_id,),
        ).fetchone()
        for stream in streams_of(connection, topic)
    ]
    found = max((row for row in rows if row is not None), default=None, key=lambda row: row[0])
    return None if found is None else Record(*found[1:])


def ids_look_up(topic: int) -> str:
    """The query that locates an id; its parameter is the id's digest."""
    return f"SELECT streams.id, offset FROM ids_{topic} AS ids JOIN streams ON topic_id = {topic} AND streams.partition = ids.partition WHERE digest = ?"


def _look_up(connection: sqlite3.Connection, topic: Topic, record_id: str) -> Record | None:
    place = connection.execute(ids_look_up(topic.number), (id_digest(record_id),)).fetchone()
    if place is None:
        return None
    stream, offset = place
    row = connection.execute(f"SELECT {RECORD} FROM records_{stream} WHERE offset = ?", (offset,)).fetchone()
    return Record(*row) if row is not None and row[1] == record_id else None  # else it was redacted


def get_offset(connection: sqlite3.Connection, group: str, topic: str, partition: int) -> int:
    row = connection.execute(
        "SELECT next_offset FROM offsets WHERE topic_id = ? AND partition = ? AND group_name = ?",
        (topic_number(connection, topic), partition, group),
    ).fetchone()
    return row[0] if row else 0


def list_groups(connection: sqlite3.Connection, topic: str | None) -> list[GroupOffset]:
    rows = connection.execute(
        "SELECT group_name, name, next_offset, partition, hold FROM offsets JOIN topics ON topic_id = topics.id "
        "WHERE ?1 IS NULL OR topic_id = ?1 ORDER BY name, group_name, partition",
        (None if topic is None else topic_number(connection, topic),),
    )
    return [GroupOffset(*row) for row in rows.fetchall()]


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


def _topic(row: tuple[int, str, int, int | None, int, int, int]) -> Topic:
    number, name, partitions, retention_ms, unique, indexed, compacted = row
    return Topic(number, TopicSpec(name, partitions, retention_ms, bool(unique), bool(indexed), bool(compacted)))


def _no_topic(connection: sqlite3.Connection, name: str) -> NotFoundError:
    names = [other for (other,) in connection.execute("SELECT name FROM topics")]
    near = get_close_matches(name, names, n=3) or sorted(names)[:3]
    return NotFoundError(
        f"there is no topic {name!r}",
        next_step=f"did you mean {', '.join(near)}?" if near else "apply a resource first: the log has no topics yet",
    )
