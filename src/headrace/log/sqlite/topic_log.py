"""The SQLite implementation of the port."""

import sqlite3
import threading
from collections import deque
from collections.abc import Collection, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from headrace.foundation.clock import Clock
from headrace.foundation.errors import FinalError
from headrace.log.record import Record
from headrace.log.redaction import RedactionReport
from headrace.log.sqlite import queries, redacting, retention, topics
from headrace.log.sqlite.commit import apply_commit, take_lease
from headrace.log.sqlite.database import Database
from headrace.log.sqlite.group_writer import GroupWriter
from headrace.log.sqlite.space import give_back
from headrace.log.sqlite.watch import CommitWatch
from headrace.log.topic_log import (
    Commit,
    CommitResult,
    DeletedTopic,
    ExternalTable,
    GroupOffset,
    Lease,
    LogCapabilities,
    StateEntry,
    TopicInfo,
    TopicSpec,
    TrimReport,
)

_CAPABILITIES = LogCapabilities(shared_between_machines=False, partitions=True, redacts=True)


class SqliteTopicLog:
    """One connection writes, one watches for commits, and one reads per concurrently reading thread."""

    def __init__(self, state: Path, clock: Clock) -> None:
        self._database = Database(state)
        self._writer = GroupWriter(self._database, clock)
        self._watch = CommitWatch(self._database, clock)
        self._idle: deque[sqlite3.Connection] = deque()
        self._streams: dict[tuple[str, int], int] = {}
        self._lock = threading.Lock()
        self._closed = False

    @property
    def capabilities(self) -> LogCapabilities:
        return _CAPABILITIES

    def ensure_topic(self, spec: TopicSpec) -> None:
        with self._reading() as connection:
            known = topics.stands(connection, spec)
        if not known:
            self._writer.write(lambda connection, _: topics.ensure(connection, spec))

    def ensure_exists(self, name: str) -> None:
        with self._reading() as connection:
            known = queries.find_topic(connection, name) is not None
        if not known:
            self._writer.write(lambda connection, _: topics.ensure_exists(connection, name))

    def delete_topic(self, name: str) -> DeletedTopic:
        deleted = self._writer.write(lambda connection, _: topics.delete(connection, name))
        give_back(self._database, self._writer, dropped=bool(deleted.records))
        return deleted

    def topics(self) -> list[TopicInfo]:
        with self._reading() as connection:
            return queries.list_topics(connection)

    def topic(self, name: str) -> TopicInfo:
        with self._reading() as connection:
            return queries.topic_info(connection, name)

    def read(
        self, topic: str, offset: int, *, max_records: int = 10_000, max_bytes: int = 16 << 20, partition: int = 0
    ) -> list[Record]:
        with self._reading() as connection:
            stream = self._streams.get((topic, partition))
            if stream is not None:
                try:
                    return queries.read_records(connection, stream, offset, max_records, max_bytes)
                except (
                    sqlite3.OperationalError
                ):  # either the topic and its table were deleted, or something is really wrong
                    del self._streams[topic, partition]
            stream = self._streams[topic, partition] = queries.get_stream(connection, topic, partition)[1].number
            return queries.read_records(connection, stream, offset, max_records, max_bytes)

    def find(self, topic: str, record_id: str) -> Record | None:
        with self._reading() as connection:
            connection.execute("BEGIN")  # index and records from one snapshot
            try:
                return queries.find_record(connection, topic, record_id)
            finally:
                connection.execute("ROLLBACK")

    def external_table(self, topic: str) -> ExternalTable | None:
        del topic  # only processes on this machine can read the file
        return None

    def commit(self, commit: Commit) -> CommitResult:
        return self._writer.write(lambda connection, now_ms: apply_commit(connection, commit, now_ms))

    def offset(self, group: str, topic: str, partition: int = 0) -> int:
        with self._reading() as connection:
            return queries.get_offset(connection, group, topic, partition)

    def groups(self, topic: str | None = None) -> list[GroupOffset]:
        with self._reading() as connection:
            return queries.list_groups(connection, topic)

    def forget_group(self, group: str) -> None:
        self._writer.write(
            lambda connection, _: connection.execute("DELETE FROM offsets WHERE group_name = ?", (group,))
        )

    def state(self, owner: str, prefix: str = "") -> dict[str, StateEntry]:
        with self._reading() as connection:
            return queries.get_state(connection, owner, prefix)

    def acquire_lease(self, role: str, holder: str) -> Lease:
        return self._writer.write(lambda connection, _: take_lease(connection, role, holder))

    def wait(self, timeout_seconds: float) -> bool:
        return self._watch.wait(timeout_seconds)

    def trim(self, now_ms: int) -> TrimReport:
        return retention.trim(self._database, self._writer, now_ms)

    def redact(self, ids: Mapping[str, Collection[str]]) -> RedactionReport:
        return redacting.redact(self._database, self._writer, ids)

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
            idle = list(self._idle)
            self._idle.clear()
        for connection in idle:
            connection.close()
        self._watch.close()
        self._writer.close()
        self._database.turn.close()

    @contextmanager
    def _reading(self) -> Generator[sqlite3.Connection]:
        """Lends a connection to this thread and maps SQLite's errors to the port's."""
        with self._database.file.translated():
            connection = self._borrow()
            try:
                yield connection
            finally:
                self._give_back(connection)

    def _borrow(self) -> sqlite3.Connection:
        with self._lock:
            if self._closed:
                raise FinalError("the log is closed", where=str(self._database.path))
            if self._idle:
                return self._idle.pop()
        return self._database.connect()

    def _give_back(self, connection: sqlite3.Connection) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(connection)
                return
        connection.close()
