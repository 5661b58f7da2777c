"""Which topics there are, how they are kept, and from where they are read: the state of the owner `topics`.

Every reader asks where its partition ends. It asks the same of this state, in the same request, so it learns of truncated and deleted
topics before it reads, at no further cost.

Keys: a topic's name holds its specification; `cut/NAME` the offset that each partition is read from since the last truncation;
`copied/NAME` the offset up to which each partition's records are copied to the topic's companion (see `kept`); `/deletions` a count.
No topic's name holds a slash, because Kafka's do not.
"""

import threading
from collections.abc import Callable, Mapping
from difflib import get_close_matches

import msgspec

from headrace.foundation.errors import NotFoundError
from headrace.log.kafka.broker import Partition
from headrace.log.kafka.changelog import Changelog, Entries
from headrace.log.kafka.options import KafkaOptions
from headrace.log.topic_log import StateKey, TopicSpec

OWNER = "topics"
DELETIONS = StateKey(OWNER, "/deletions")
Offsets = Mapping[int, int]
"""By partition."""


class _Kept(msgspec.Struct, frozen=True):
    partitions: int
    retention_ms: int | None
    unique_ids: bool
    indexed_ids: bool = False
    compacted: bool = False


def spec_key(topic: str) -> StateKey:
    return StateKey(OWNER, topic)


def cut_key(topic: str) -> StateKey:
    return StateKey(OWNER, f"cut/{topic}")


def copied_key(topic: str) -> StateKey:
    return StateKey(OWNER, f"copied/{topic}")


def encode_spec(spec: TopicSpec) -> bytes:
    return msgspec.json.encode(
        _Kept(spec.partitions, spec.retention_ms, spec.unique_ids, spec.indexed_ids, spec.compacted)
    )


def encode_offsets(offsets: Offsets) -> bytes:
    return msgspec.json.encode(offsets)


def decode_offsets(entries: Entries, key: StateKey) -> dict[int, int]:
    """Empty where there is no such entry."""
    entry = entries.get(key.key)
    return {} if entry is None else msgspec.json.decode(entry.value, type=dict[int, int])


def one_more_deletion(entries: Entries) -> tuple[dict[StateKey, bytes | None], dict[StateKey, int]]:
    """What a commit that deletes a topic writes and expects, so that every process notices."""
    entry = entries.get(DELETIONS.key)
    count, version = (int(entry.value), entry.version) if entry else (0, 0)
    return {DELETIONS: b"%d" % (count + 1)}, {DELETIONS: version}


class Catalog:
    """What is known of every topic. Safe from several threads."""

    def __init__(self, options: KafkaOptions, changelog: Changelog) -> None:
        self._prefix, self._changelog = options.prefix, changelog
        self.where: Partition = (changelog.topic(OWNER), 0)
        """Where this state lies on the broker."""
        self.on_deletion: list[Callable[[], None]] = []
        """Called when a topic was deleted, by any process: what was remembered of any topic may be of another one now. They must not
        ask the catalog."""
        self.deletions = 0
        """How many deletions this process has noticed."""
        self._entries: Entries = {}
        self._taken = -1
        """The end of `where` up to which this is the truth."""
        self._specs: dict[str, TopicSpec] = {}
        self._lock = threading.RLock()

    def refresh(self) -> Entries:
        """Asks the broker. The owner's state as it is now."""
        self.catch_up(self._changelog.end(OWNER))
        return self._entries

    def catch_up(self, end: int) -> None:
        """Reads on to an end of `where` that the caller has asked for."""
        with self._lock:
            if end > self._taken:
                self._take(self._changelog.entries_to(OWNER, end))
                self._taken = end

    def specs(self) -> dict[str, TopicSpec]:
        """All topics, as known."""
        return self._specs

    def spec(self, topic: str) -> TopicSpec:
        """As known, or as the broker says. NotFoundError names the nearest ones."""
        spec = self._specs.get(topic)
        if spec is None:
            self.refresh()
            spec = self._specs.get(topic)
        if spec is None:
            near = get_close_matches(topic, self._specs, n=3) or sorted(self._specs)[:3]
            raise NotFoundError(
                f"there is no topic {topic!r}",
                next_step=f"did you mean {', '.join(near)}?"
                if near
                else "apply a resource first: the log has no topics yet",
            )
        return spec

    def stands(self, topic: str) -> bool:
        """Whether the broker says that there is such a topic."""
        self.refresh()
        return topic in self._specs

    def place(self, topic: str, partition: int) -> Partition:
        """A partition's place on the broker. NotFoundError where topic or partition was never ensured."""
        spec = self.spec(topic)
        if partition >= spec.partitions:
            raise NotFoundError(f"the topic {topic!r} has partitions 0 to {spec.partitions - 1}, not {partition}")
        return f"{self._prefix}{topic}", partition

    def companion(self, topic: str, partition: int = 0) -> Partition:
        """The place of what compaction keeps of it."""
        return f"{self._prefix}_kept.{topic}", partition

    def cut(self, topic: str, partition: int) -> int:
        """The offset that a partition is read from, as known."""
        return decode_offsets(self._entries, cut_key(topic)).get(partition, 0)

    def cuts(self, topic: str) -> dict[int, int]:
        return decode_offsets(self._entries, cut_key(topic))

    def copied(self, topic: str) -> dict[int, int]:
        """Up to which offset each partition's records are in its companion, as known."""
        return decode_offsets(self._entries, copied_key(topic))

    def _take(self, entries: Entries) -> None:
        before, now = (one.get(DELETIONS.key) for one in (self._entries, entries))
        self._entries = entries
        self._specs = {name: _spec(name, entry.value) for name, entry in entries.items() if "/" not in name}
        if before != now:
            self.deletions += 1
            for forget in self.on_deletion:
                forget()


def _spec(name: str, value: bytes) -> TopicSpec:
    kept = msgspec.json.decode(value, type=_Kept)
    return TopicSpec(name, kept.partitions, kept.retention_ms, kept.unique_ids, kept.indexed_ids, kept.compacted)
