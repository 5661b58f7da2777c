"""How each topic is kept, as it was ensured last, by anybody: state of an owner of its own."""

from collections.abc import Mapping
from difflib import get_close_matches

import msgspec

from headrace.foundation.errors import NotFoundError
from headrace.log.kafka.changelog import Changelog, Entries
from headrace.log.kafka.options import KafkaOptions
from headrace.log.topic_log import StateKey, TopicSpec

OWNER = "topics"


class _Kept(msgspec.Struct, frozen=True):
    partitions: int
    retention_ms: int | None
    unique_ids: bool


class Specifications:
    """Those read last; whoever needs them as they are now reads again."""

    def __init__(self, options: KafkaOptions, changelog: Changelog) -> None:
        self._options, self._changelog = options, changelog
        self._entries: Entries = {}
        self._specs: dict[str, TopicSpec] = {}

    def read(self) -> Mapping[str, TopicSpec]:
        """As they are now, by Headrace's name of the topic."""
        return self.take(self._changelog.entries(OWNER))

    def take(self, entries: Entries) -> Mapping[str, TopicSpec]:
        """The owner's state as somebody has just read it."""
        if entries != self._entries:
            self._specs = {name: _decode(name, entry.value) for name, entry in entries.items()}
            self._entries = entries
        return self._specs

    def of(self, topic: str) -> TopicSpec:
        """NotFoundError names the nearest ones."""
        spec = self._specs.get(topic) or self.read().get(topic)
        if spec is None:
            near = get_close_matches(topic, self._specs, n=3) or sorted(self._specs)[:3]
            raise NotFoundError(
                f"there is no topic {topic!r}",
                next_step=f"the nearest are {', '.join(near)}" if near else "the log has no topics yet",
            )
        return spec

    def is_so(self, spec: TopicSpec) -> bool:
        """Whether the topic is kept like this already."""
        return self._specs.get(spec.name) == spec or self.read().get(spec.name) == spec

    def keeps_ids_unique(self, topic: str) -> bool:
        """False also of a topic that was never ensured."""
        spec = self._specs.get(topic)
        return spec is not None and spec.unique_ids

    def name(self, topic: str) -> str:
        """Kafka's name of a topic, which need not be there."""
        return f"{self._options.prefix}{topic}"


def key(spec: TopicSpec) -> StateKey:
    """Where it is written."""
    return StateKey(OWNER, spec.name)


def encode(spec: TopicSpec) -> bytes:
    return msgspec.json.encode(_Kept(spec.partitions, spec.retention_ms, spec.unique_ids))


def _decode(name: str, value: bytes) -> TopicSpec:
    kept = msgspec.json.decode(value, type=_Kept)
    return TopicSpec(name, kept.partitions, kept.retention_ms, kept.unique_ids)
