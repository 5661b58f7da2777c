"""Which topics exist, how they are kept, and where reading starts: the state of the owner `topics`.

Every reader asks where its partition ends. In the same request it asks where this state ends, so it learns of truncated and deleted
topics before it reads, at no extra cost.

Keys: NAME holds a topic's specification; `cut/NAME` the offset where reading each partition starts since the last truncation;
`copied/NAME` the offset up to which each partition's records are copied to the topic's companion (see `kept`); `/deletions` a count.
Topic names contain no slash, because Kafka's cannot.
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
    """Empty if there is no such entry."""
    entry = entries.get(key.key)
    return {} if entry is None else msgspec.json.decode(entry.value, type=dict[int, int])


def one_more_deletion(entries: Entries) -> tuple[dict[StateKey, bytes | None], dict[StateKey, int]]:
    """The writes and expected versions of a commit that deletes a topic, so that every process notices."""
    entry = entries.get(DELETIONS.key)
    count, version = (int(entry.value), entry.version) if entry else (0, 0)
    return {DELETIONS: b"%d" % (count + 1)}, {DELETIONS: version}


class Catalog:
    """What is known about every topic. Thread-safe."""

    def __init__(self, options: KafkaOptions, changelog: Changelog) -> None:
        self._prefix, self._changelog = options.prefix, changelog
        self.where: Partition = (changelog.topic(OWNER), 0)
        """This state's partition on the broker."""
        self.on_deletion: list[Callable[[], None]] = []
        """Called when any process has deleted a topic: anything remembered about a topic may now belong to another one. Callbacks must not
        ask the catalog."""
        self.deletions = 0
        """How many deletions this process has noticed."""
        self._entries: Entries = {}
        self._taken = -1
        """The end of `where` up to which this view is current."""
        self._specs: dict[str, TopicSpec] = {}
        self._lock = threading.RLock()

    def refresh(self) -> Entries:
        """Asks the broker. Returns the owner's current state."""
        self.catch_up(self._changelog.end(OWNER))
        return self._entries

    def catch_up(self, end: int) -> None:
        """Reads on up to an end of `where` that the caller has fetched."""
        with self._lock:
            if end > self._taken:
                self._take(self._changelog.entries_to(OWNER, end))
                self._taken = end

    def specs(self) -> dict[str, TopicSpec]:
        """All known topics."""
        return self._specs

    def spec(self, topic: str) -> TopicSpec:
        """From the cache, or else from the broker. NotFoundError names the nearest topics."""
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
        """Whether the broker reports the topic."""
        self.refresh()
        return topic in self._specs

    def place(self, topic: str, partition: int) -> Partition:
        """A partition's place on the broker. NotFoundError if the topic or partition was never created."""
        spec = self.spec(topic)
        if partition >= spec.partitions:
            raise NotFoundError(f"the topic {topic!r} has partitions 0 to {spec.partitions - 1}, not {partition}")
        return f"{self._prefix}{topic}", partition

    def companion(self, topic: str, partition: int = 0) -> Partition:
        """The place of its compacted records."""
        return f"{self._prefix}_kept.{topic}", partition

    def cut(self, topic: str, partition: int) -> int:
        """The known offset where reading a partition starts."""
        return decode_offsets(self._entries, cut_key(topic)).get(partition, 0)

    def cuts(self, topic: str) -> dict[int, int]:
        return decode_offsets(self._entries, cut_key(topic))

    def copied(self, topic: str) -> dict[int, int]:
        """The known offset up to which each partition's records have been copied to its companion."""
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
