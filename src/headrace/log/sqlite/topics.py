"""Creating topics and changing how they are kept."""

import sqlite3

from headrace.foundation.errors import InvalidDeclarationError
from headrace.log.sqlite.queries import find_topic
from headrace.log.topic_log import TopicSpec

_STREAM = """CREATE TABLE records_{stream}(
  offset INTEGER PRIMARY KEY, id TEXT NOT NULL, kind TEXT NOT NULL, event_time INTEGER NOT NULL, key TEXT NOT NULL,
  origin TEXT NOT NULL, ingested_at INTEGER NOT NULL, arrived_at INTEGER NOT NULL, value BLOB NOT NULL)"""
_IDS = """CREATE TABLE ids_{topic}(
  id TEXT PRIMARY KEY, partition INTEGER NOT NULL, offset INTEGER NOT NULL) WITHOUT ROWID"""


def stands(connection: sqlite3.Connection, spec: TopicSpec) -> bool:
    """Whether the topic is kept as `spec` says already."""
    row = find_topic(connection, spec.name)
    return row is not None and row[1:] == (spec.partitions, spec.retention_ms, int(spec.unique_ids))


def ensure(connection: sqlite3.Connection, spec: TopicSpec) -> None:
    """Inside a transaction: creates the topic, or changes it. InvalidDeclarationError: fewer partitions than it has."""
    row = find_topic(connection, spec.name)
    topic, partitions, _, unique = row or (_create(connection, spec.name), 0, None, 0)
    if spec.partitions < max(1, partitions):
        raise InvalidDeclarationError(
            f"the topic {spec.name!r} cannot have {spec.partitions} partitions",
            next_step=f"declare {max(1, partitions)} or more: partitions with records are never taken away",
        )
    for partition in range(partitions, spec.partitions):
        _add_stream(connection, topic, partition)
    if spec.unique_ids and not unique:
        _index_ids(connection, topic)
    elif unique and not spec.unique_ids:
        connection.execute(f"DROP TABLE ids_{topic}")
    connection.execute(
        "UPDATE topics SET partitions = ?, retention_ms = ?, unique_ids = ? WHERE id = ?",
        (spec.partitions, spec.retention_ms, int(spec.unique_ids), topic),
    )


def _create(connection: sqlite3.Connection, name: str) -> int:
    rows = connection.execute("INSERT INTO topics VALUES (NULL, ?, 0, NULL, 0) RETURNING id", (name,)).fetchall()
    return rows[0][0]


def _add_stream(connection: sqlite3.Connection, topic: int, partition: int) -> None:
    rows = connection.execute(
        "INSERT INTO streams VALUES (NULL, ?, ?, 0, 0, 0) RETURNING id", (topic, partition)
    ).fetchall()
    connection.execute(_STREAM.format(stream=rows[0][0]))


def _index_ids(connection: sqlite3.Connection, topic: int) -> None:
    """An id that stands there several times is known by its newest record."""
    connection.execute(_IDS.format(topic=topic))
    streams = connection.execute("SELECT id, partition FROM streams WHERE topic_id = ?", (topic,)).fetchall()
    for stream, partition in streams:
        connection.execute(
            f"INSERT OR REPLACE INTO ids_{topic} SELECT id, ?, offset FROM records_{stream} ORDER BY offset",
            (partition,),
        )
