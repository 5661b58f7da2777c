"""What a log must do, as a plain object in memory: the yardstick of the conformance suite's property test."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field

from headrace.foundation.errors import ConflictError, FencedError, NotFoundError
from headrace.log.record import NewRecord, Record
from headrace.log.topic_log import Append, Commit, CommitResult, Lease, StateEntry, StateKey
from headrace.testing.builders import stored


@dataclass
class _Contents:
    topics: dict[str, list[Record]] = field(default_factory=dict[str, list[Record]])
    ends: dict[str, int] = field(default_factory=dict[str, int])
    """How many records a topic ever had."""
    unique: set[str] = field(default_factory=set[str])
    offsets: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    state: dict[StateKey, StateEntry] = field(default_factory=dict[StateKey, StateEntry])
    epochs: dict[str, int] = field(default_factory=dict[str, int])


class LogModel:
    """One partition per topic; retention drops nothing."""

    def __init__(self) -> None:
        self._now = _Contents()

    def ensure_topic(self, name: str, *, unique_ids: bool) -> None:
        self._now.topics.setdefault(name, [])
        (self._now.unique.add if unique_ids else self._now.unique.discard)(name)

    def acquire_lease(self, role: str, holder: str) -> Lease:
        self._now.epochs[role] = self._now.epochs.get(role, 0) + 1
        return Lease(role, self._now.epochs[role], holder)

    def commit(self, commit: Commit, now_ms: int) -> CommitResult:
        """All of it or an error and none of it."""
        after = deepcopy(self._now)
        result = _apply(after, commit, now_ms)
        self._now = after
        return result

    def topic(self, name: str) -> list[Record]:
        return self._now.topics[name]

    def delete_topic(self, name: str) -> None:
        self._now.topics.pop(name, None)
        self._now.ends.pop(name, None)
        self._now.unique.discard(name)
        for place in [place for place in self._now.offsets if place[1] == name]:
            del self._now.offsets[place]

    def offset(self, group: str, topic: str) -> int:
        return self._now.offsets.get((group, topic), 0)

    def state(self, owner: str, prefix: str) -> dict[str, StateEntry]:
        return {
            key.key: entry
            for key, entry in self._now.state.items()
            if key.owner == owner and key.key.startswith(prefix)
        }


def _apply(contents: _Contents, commit: Commit, now_ms: int) -> CommitResult:
    if commit.lease is not None and contents.epochs.get(commit.lease.role) != commit.lease.epoch:
        raise FencedError("another holder")
    for key, version in commit.expect.items():
        entry = contents.state.get(key)
        if (entry.version if entry else 0) != version:
            raise ConflictError("another version")
    first_offsets: dict[str, int] = {}
    duplicates: dict[str, int] = {}
    for topic in commit.truncate:
        if topic not in contents.topics:
            raise NotFoundError("no such topic")
        contents.topics[topic] = []
    for key in [key for key in contents.state if key.owner in commit.clear]:
        del contents.state[key]
    for append in commit.appends:
        first, repeated = _append(contents, append, now_ms)
        first_offsets.setdefault(append.topic, first)
        if append.topic in contents.unique:
            duplicates[append.topic] = duplicates.get(append.topic, 0) + repeated
    for offset in commit.offsets:
        if offset.topic not in contents.topics:
            raise NotFoundError("no such topic")
        contents.offsets[offset.group, offset.topic] = offset.next_offset
    for key, value in commit.state.items():
        entry = contents.state.pop(key, None)
        if value is not None:
            contents.state[key] = StateEntry(value, entry.version + 1 if entry else 1)
    return CommitResult(first_offsets, duplicates)


def _append(contents: _Contents, append: Append, now_ms: int) -> tuple[int, int]:
    if append.topic not in contents.topics:
        raise NotFoundError("no such topic")
    records = contents.topics[append.topic]
    first = contents.ends.get(append.topic, 0)
    fresh = _fresh(records, append.records) if append.topic in contents.unique else append.records
    records.extend(stored(record, offset, now_ms) for offset, record in enumerate(fresh, first))
    contents.ends[append.topic] = first + len(fresh)
    return first, len(append.records) - len(fresh)


def _fresh(held: Sequence[Record], records: Sequence[NewRecord]) -> list[NewRecord]:
    known = {record.id for record in held}
    return [record for record in records if not (record.id in known or known.add(record.id))]
