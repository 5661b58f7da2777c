"""Erases the content of records, and every copy of it that SQLite left in the file.

Overwriting a record is not enough. Freed pages keep their bytes, the write-ahead log keeps whole old pages, and
when SQLite balances a tree, bytes of moved records remain in the unused part of a page, despite `secure_delete`. So the
file is rewritten from its live records (VACUUM), then the write-ahead log is emptied.
"""

import json
import sqlite3
from collections.abc import Collection, Iterator, Mapping

from headrace.foundation.errors import UnavailableError
from headrace.log.record import Record
from headrace.log.redaction import REDACTED_KIND, RedactedRecord, RedactionReport, record_digest, redacted_id
from headrace.log.sqlite.database import Database
from headrace.log.sqlite.group_writer import GroupWriter
from headrace.log.sqlite.queries import RECORD, Topic, get_topic, streams_of
from headrace.log.sqlite.space import empty_wal

_READERS_MILLISECONDS = 10_000


def redact(database: Database, writer: GroupWriter, ids: Mapping[str, Collection[str]]) -> RedactionReport:
    """See the port. Other writers wait while the file is rewritten."""
    report = writer.write(lambda connection, _: RedactionReport(tuple(_redact(connection, ids))))
    writer.outside_transaction(lambda connection: connection.execute("VACUUM"))
    if not writer.outside_transaction(lambda connection: empty_wal(connection, _READERS_MILLISECONDS)):
        raise UnavailableError(
            "the records are redacted, but a reader still keeps their former bytes in log.sqlite-wal",
            where=str(database.path),
            next_step="end the program that reads the file, then redact again",
        )
    return report


def _redact(connection: sqlite3.Connection, ids: Mapping[str, Collection[str]]) -> Iterator[RedactedRecord]:
    for name, wanted in ids.items():
        topic = get_topic(connection, name)
        for stream in streams_of(connection, topic):
            for record in _find(connection, stream.number, wanted):
                after = Record(
                    record.offset, redacted_id(record.id), REDACTED_KIND, b"", record.event_time, "", "", record.ingested_at
                )  # fmt: skip
                _overwrite(connection, topic, stream.number, record, after)
                before, now = record_digest(record), record_digest(after)
                yield RedactedRecord(name, stream.partition, record.offset, before, now)


def _find(connection: sqlite3.Connection, stream: int, ids: Collection[str]) -> list[Record]:
    """Scans the stream once, however many ids are given."""
    rows = connection.execute(
        f"SELECT {RECORD} FROM records_{stream} WHERE id IN (SELECT value FROM json_each(?)) AND kind <> ? ORDER BY offset",
        (json.dumps(list(ids)), REDACTED_KIND),
    )
    return [Record(*row) for row in rows.fetchall()]


def _overwrite(connection: sqlite3.Connection, topic: Topic, stream: int, record: Record, after: Record) -> None:
    connection.execute(
        f"UPDATE records_{stream} SET id = ?, kind = ?, key = ?, origin = ?, value = ? WHERE offset = ?",
        (after.id, after.kind, after.key, after.origin, after.value, record.offset),
    )
    connection.execute("UPDATE streams SET bytes = bytes - ? WHERE id = ?", (len(record.value), stream))
    if topic.spec.compacted and record.key:
        connection.execute(
            f"DELETE FROM keys_{stream} WHERE digest = id_digest(?) AND offset = ?", (record.key, record.offset)
        )
