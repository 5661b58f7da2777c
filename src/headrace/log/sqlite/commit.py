"""Applies a Commit. Every function runs inside a transaction that its caller begins and ends."""

import sqlite3
from collections.abc import Iterator, Sequence

from headrace.foundation.errors import ConflictError, FencedError
from headrace.log.record import NewRecord
from headrace.log.redaction import id_digest
from headrace.log.sqlite.queries import Stream, Topic, get_stream, topic_number
from headrace.log.sqlite.topics import truncate
from headrace.log.topic_log import Append, Commit, CommitResult, GroupOffset, Lease, StateKey

_IDS_PER_LOOKUP = 500


def apply_commit(connection: sqlite3.Connection, commit: Commit, now_ms: int) -> CommitResult:
    """Checks lease and versions, then writes. On FencedError, ConflictError or NotFoundError the caller rolls back."""
    if commit.lease is not None:
        _check_lease(connection, commit.lease)
    for key, version in commit.expect.items():
        _check_version(connection, key, version)
    for topic in commit.truncate:
        truncate(connection, topic)
    for owner in commit.clear:
        connection.execute("DELETE FROM state WHERE owner = ?", (owner,))
    first_offsets: dict[str, int] = {}
    duplicates: dict[str, int] = {}
    for append in commit.appends:
        first, repeated = _append(connection, append, now_ms)
        first_offsets.setdefault(append.topic, first)
        if repeated is not None:
            duplicates[append.topic] = duplicates.get(append.topic, 0) + repeated
    for offset in commit.offsets:
        _move_group(connection, offset)
    for key, value in commit.state.items():
        _write_state(connection, key, value)
    return CommitResult(first_offsets, duplicates)


def take_lease(connection: sqlite3.Connection, role: str, holder: str) -> Lease:
    """The role's next epoch, for `holder`."""
    row = connection.execute(
        "INSERT INTO leases VALUES (?, 1, ?) "
        "ON CONFLICT DO UPDATE SET epoch = epoch + 1, holder = excluded.holder RETURNING epoch",
        (role, holder),
    ).fetchall()
    return Lease(role, row[0][0], holder)


def _check_lease(connection: sqlite3.Connection, lease: Lease) -> None:
    row = connection.execute("SELECT epoch, holder FROM leases WHERE role = ?", (lease.role,)).fetchone()
    if row != (lease.epoch, lease.holder):
        now = f"{row[1]} holds it since epoch {row[0]}" if row else "nobody holds it"
        raise FencedError(f"{lease.holder} lost the role {lease.role!r} of epoch {lease.epoch}: {now}")


def _check_version(connection: sqlite3.Connection, key: StateKey, version: int) -> None:
    row = connection.execute("SELECT version FROM state WHERE owner = ? AND key = ?", (key.owner, key.key)).fetchone()
    current = row[0] if row else 0
    if current != version:
        raise ConflictError(
            f"the state {key.owner}/{key.key} is at version {current}, not {version}: another process changed it",
            next_step="read it again and repeat the change",
        )


def _append(connection: sqlite3.Connection, append: Append, now_ms: int) -> tuple[int, int | None]:
    """First new offset, and the number of duplicate ids if the topic keeps ids unique."""
    topic, stream = get_stream(connection, append.topic, append.partition)
    records, repeated, first = append.records, None, stream.end
    if topic.spec.unique_ids:
        records = _unseen(connection, topic.number, records)
        repeated = len(append.records) - len(records)
    if not records:
        return first, repeated
    connection.executemany(
        f"INSERT INTO records_{stream.number} VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", _rows(records, first, now_ms)
    )
    _index(connection, topic, stream, records)
    connection.execute(
        "UPDATE streams SET end_offset = ?, bytes = bytes + ? WHERE id = ?",
        (first + len(records), sum(len(record.value) for record in records), stream.number),
    )
    return first, repeated


def _index(connection: sqlite3.Connection, topic: Topic, stream: Stream, records: Sequence[NewRecord]) -> None:
    """`records` follow the stream's end."""
    if topic.indexed:
        connection.executemany(
            f"INSERT OR REPLACE INTO ids_{topic.number} VALUES (?, ?, ?)",
            ((id_digest(one.id), stream.partition, offset) for offset, one in enumerate(records, stream.end)),
        )
    if topic.spec.compacted:
        connection.executemany(
            f"INSERT INTO keys_{stream.number} VALUES (?, ?)",
            ((id_digest(one.key), offset) for offset, one in enumerate(records, stream.end) if one.key),
        )


def _rows(records: Sequence[NewRecord], first: int, now_ms: int) -> Iterator[tuple[object, ...]]:
    for offset, record in enumerate(records, first):
        yield (
            offset, record.id, record.kind, record.event_time, record.key, record.origin,
            record.ingested_at or now_ms, now_ms, record.value,
        )  # fmt: skip


def _unseen(connection: sqlite3.Connection, topic: int, records: Sequence[NewRecord]) -> list[NewRecord]:
    """The records whose ids are not yet in the topic and not repeated among themselves."""
    fresh: dict[bytes, NewRecord] = {}
    for record in records:
        fresh.setdefault(id_digest(record.id), record)
    digests = list(fresh)
    for start in range(0, len(digests), _IDS_PER_LOOKUP):
        some = digests[start : start + _IDS_PER_LOOKUP]
        marks = ",".join("?" * len(some))
        for (known,) in connection.execute(f"SELECT digest FROM ids_{topic} WHERE digest IN ({marks})", some):
            del fresh[known]
    return list(fresh.values())


def _move_group(connection: sqlite3.Connection, offset: GroupOffset) -> None:
    connection.execute(
        "INSERT INTO offsets VALUES (?, ?, ?, ?, ?) "
        "ON CONFLICT DO UPDATE SET next_offset = excluded.next_offset, hold = excluded.hold",
        (topic_number(connection, offset.topic), offset.partition, offset.group, offset.next_offset, offset.hold),
    )


def _write_state(connection: sqlite3.Connection, key: StateKey, value: bytes | None) -> None:
    if value is None:
        connection.execute("DELETE FROM state WHERE owner = ? AND key = ?", (key.owner, key.key))
        return
    connection.execute(
        "INSERT INTO state VALUES (?, ?, 1, ?) ON CONFLICT DO UPDATE SET version = version + 1, value = excluded.value",
        (key.owner, key.key, value),
    )
