"""Creates, changes, empties and deletes topics. Every function runs inside a transaction that its caller begins and ends."""

import sqlite3
from dataclasses import replace

from headrace.foundation.errors import InvalidDeclarationError
from headrace.log.sqlite.database import IDS_TABLE
from headrace.log.sqlite.queries import Topic, find_topic, get_topic, streams_of
from headrace.log.topic_log import NOTHING_DELETED, DeletedTopic, TopicSpec

_RECORDS = """CREATE TABLE records_{stream}(
  offset INTEGER PRIMARY KEY, id TEXT NOT NULL, kind TEXT NOT NULL, event_time INTEGER NOT NULL, key TEXT NOT NULL,
  origin TEXT NOT NULL, ingested_at INTEGER NOT NULL, arrived_at INTEGER NOT NULL, value BLOB NOT NULL)"""
_KEYS = """CREATE TABLE keys_{stream}(
  digest BLOB NOT NULL, offset INTEGER NOT NULL, PRIMARY KEY(digest, offset)) WITHOUT ROWID"""


def stands(connection: sqlite3.Connection, spec: TopicSpec) -> bool:
    """Whether the topic already matches `spec`. Needs no transaction."""
    topic = find_topic(connection, spec.name)
    return topic is not None and topic.spec == spec


def ensure(connection: sqlite3.Connection, spec: TopicSpec) -> None:
    """Creates or changes the topic. InvalidDeclarationError: fewer partitions than it has."""
    topic = find_topic(connection, spec.name) or _create(connection, spec.name)
    if spec.partitions < max(1, topic.spec.partitions):
        raise InvalidDeclarationError(
            f"the topic {spec.name!r} cannot have {spec.partitions} partitions",
            next_step=f"declare {max(1, topic.spec.partitions)} or more: partitions cannot be removed",
        )
    for partition in range(topic.spec.partitions, spec.partitions):
        _add_stream(connection, topic, partition)
    wanted = Topic(topic.number, spec)
    _change_ids(connection, topic, wanted)
    _change_keys(connection, topic, wanted)
    connection.execute(
        "UPDATE topics SET partitions = ?, retention_ms = ?, unique_ids = ?, indexed_ids = ?, compacted = ? WHERE id = ?",
        (spec.partitions, spec.retention_ms, spec.unique_ids, spec.indexed_ids, spec.compacted, topic.number),
    )


def ensure_exists(connection: sqlite3.Connection, name: str) -> None:
    """Creates the topic if it does not exist."""
    if find_topic(connection, name) is None:
        ensure(connection, TopicSpec(name))


def truncate(connection: sqlite3.Connection, name: str) -> None:
    """Removes every record and its id; offsets keep counting."""
    topic = get_topic(connection, name)
    for stream in streams_of(connection, topic):
        connection.execute(f"DELETE FROM records_{stream.number}")
        if topic.spec.compacted:
            connection.execute(f"DELETE FROM keys_{stream.number}")
    if topic.indexed:
        connection.execute(f"DELETE FROM ids_{topic.number}")
    connection.execute(
        "UPDATE streams SET start_offset = end_offset, compacted_to = end_offset, bytes = 0 WHERE topic_id = ?",
        (topic.number,),
    )


def delete(connection: sqlite3.Connection, name: str) -> DeletedTopic:
    """Removes everything about the topic."""
    topic = find_topic(connection, name)
    if topic is None:
        return NOTHING_DELETED
    streams = streams_of(connection, topic)
    records = sum(
        connection.execute(f"SELECT count(*) FROM records_{stream.number}").fetchone()[0] for stream in streams
    )
    for stream in streams:
        connection.execute(f"DROP TABLE records_{stream.number}")
    bare = replace(topic.spec, unique_ids=False, indexed_ids=False, compacted=False)
    _change_ids(connection, topic, Topic(topic.number, bare))
    _change_keys(connection, topic, Topic(topic.number, bare))
    for table, column in (("offsets", "topic_id"), ("streams", "topic_id"), ("topics", "id")):
        connection.execute(f"DELETE FROM {table} WHERE {column} = ?", (topic.number,))
    return DeletedTopic(records, sum(stream.bytes for stream in streams))


def _create(connection: sqlite3.Connection, name: str) -> Topic:
    rows = connection.execute("INSERT INTO topics VALUES (NULL, ?, 0, NULL, 0, 0, 0) RETURNING id", (name,)).fetchall()
    return Topic(rows[0][0], TopicSpec(name, partitions=0))


def _add_stream(connection: sqlite3.Connection, topic: Topic, partition: int) -> None:
    rows = connection.execute(
        "INSERT INTO streams VALUES (NULL, ?, ?, 0, 0, 0, 0) RETURNING id", (topic.number, partition)
    ).fetchall()
    connection.execute(_RECORDS.format(stream=rows[0][0]))
    if topic.spec.compacted:
        connection.execute(_KEYS.format(stream=rows[0][0]))


def _change_ids(connection: sqlite3.Connection, topic: Topic, wanted: Topic) -> None:
    """If an id occurs several times, its newest record is indexed."""
    if topic.indexed and not wanted.indexed:
        connection.execute(f"DROP TABLE ids_{topic.number}")
    if topic.indexed or not wanted.indexed:
        return
    connection.execute(IDS_TABLE.format(topic=topic.number))
    for stream in streams_of(connection, topic):
        connection.execute(
            f"INSERT OR REPLACE INTO ids_{topic.number} "
            f"SELECT id_digest(id), ?, offset FROM records_{stream.number} ORDER BY offset",
            (stream.partition,),
        )


def _change_keys(connection: sqlite3.Connection, topic: Topic, wanted: Topic) -> None:
    """A compacted topic indexes where each key's records are."""
    if topic.spec.compacted == wanted.spec.compacted:
        return
    for stream in streams_of(connection, topic):
        if wanted.spec.compacted:
            connection.execute(_KEYS.format(stream=stream.number))
            connection.execute(
                f"INSERT INTO keys_{stream.number} "
                f"SELECT id_digest(key), offset FROM records_{stream.number} WHERE key <> ''"
            )
        else:
            connection.execute(f"DROP TABLE keys_{stream.number}")
    connection.execute("UPDATE streams SET compacted_to = 0 WHERE topic_id = ?", (topic.number,))
