"""Copies a compacted topic's records to its companion before retention drops them."""

from collections.abc import Iterator
from typing import Any

from headrace.foundation.errors import ConflictError
from headrace.log.kafka.broker import Broker, Partition
from headrace.log.kafka.catalog import Catalog, copied_key, encode_offsets, one_more_deletion
from headrace.log.kafka.committing import Committer
from headrace.log.kafka.kept import CONFIG, copy
from headrace.log.kafka.producers import Run
from headrace.log.topic_log import Commit, TopicSpec

_MESSAGES, _BYTES = 5_000, 16 << 20
"""Bytes per transaction."""


class Compactor:
    """Copies in transactions that also record their progress, so that each copy is made once, whatever is killed."""

    def __init__(self, broker: Broker, catalog: Catalog, committer: Committer) -> None:
        self._broker, self._catalog, self._committer = broker, catalog, committer

    def copy(self, spec: TopicSpec, place: Partition, old: Iterator[Any]) -> tuple[int, int]:
        """Copies messages that are about to be dropped. Returns the offset after the last one, and how many readers lose: those without a key."""
        self._broker.create(self._catalog.companion(spec.name)[0], spec.partitions, CONFIG)
        end, dropped = 0, 0
        while part := _part(old):
            end = part[-1].offset() + 1
            dropped += sum(message.key() is None for message in part)
            self._commit(spec.name, place[1], part, end)
        return end, dropped

    def end(self, spec: TopicSpec) -> None:
        """The topic is no longer compacted: plain retention now drops what was kept."""
        while self._catalog.copied(spec.name):
            self._broker.delete(self._catalog.companion(spec.name)[0])
            state, expect = one_more_deletion(self._catalog.refresh())
            try:
                self._committer.commit(Commit(state={**state, copied_key(spec.name): None}, expect=expect))
            except ConflictError:
                continue
            self._catalog.refresh()

    def _commit(self, topic: str, partition: int, part: list[Any], end: int) -> None:
        companion, key = self._catalog.companion(topic, partition), copied_key(topic)
        while True:
            entries = self._catalog.refresh()
            copied = self._catalog.copied(topic)
            new = [
                message
                for message in part
                if message.key() is not None and message.offset() >= copied.get(partition, 0)
            ]
            entry = entries.get(key.key)
            state = {key: encode_offsets({**copied, partition: max(end, copied.get(partition, 0))})}
            commit = Commit(state=state, expect={key: entry.version if entry else 0})
            try:
                run = Run(len(new), (copy(message, companion) for message in new))
                self._committer.commit(commit, [(companion, run)])
            except ConflictError:  # another process is trimming too, or the topic changed
                continue
            return


def _part(messages: Iterator[Any]) -> list[Any]:
    part, size = list[Any](), 0
    for message in messages:
        part.append(message)
        size += len(message.value() or b"")
        if len(part) >= _MESSAGES or size >= _BYTES:
            break
    return part
