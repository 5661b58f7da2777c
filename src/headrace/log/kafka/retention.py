"""Drops records that arrived before a cutoff and that every group has passed.

Arrival is the time at which the record's writer appended it. For a foreign message it is Kafka's timestamp.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from headrace.log.kafka.broker import Broker, Partition
from headrace.log.kafka.catalog import Catalog
from headrace.log.kafka.committing import Committer
from headrace.log.kafka.compacting import Compactor
from headrace.log.kafka.kept import former_offset
from headrace.log.kafka.options import KafkaOptions
from headrace.log.kafka.scanning import Scan
from headrace.log.kafka.wire import arrival_of
from headrace.log.topic_log import GroupOffset, TopicSpec

Starts = Mapping[Partition, int]


class Trimmer:
    """Drops what retention allows. One caller at a time; others wait."""

    def __init__(self, options: KafkaOptions, broker: Broker, catalog: Catalog, committer: Committer) -> None:
        self._broker, self._catalog = broker, catalog
        self._scan = Scan(options, broker)
        self._compactor = Compactor(broker, catalog, committer)
        self._first: dict[Partition, tuple[int, int]] = {}
        """(start of the partition, arrival of its first record): usually nothing is old enough."""
        self._lock = threading.Lock()

    def trim(self, now_ms: int, groups: Sequence[GroupOffset]) -> int:
        """How many records were dropped."""
        with self._lock:
            specs = [spec for spec in self._catalog.specs().values() if spec.retention_ms is not None]
            return sum(self._trim(spec, now_ms - (spec.retention_ms or 0), groups) for spec in specs)

    def finish_truncations(self) -> None:
        """Deletes what truncations hid. Idempotent."""
        with self._lock:
            self._finish_truncations()

    def _finish_truncations(self) -> None:
        cuts = {
            self._catalog.place(topic, partition): cut
            for topic in self._catalog.specs()
            for partition, cut in self._catalog.cuts(topic).items()
        }
        starts = self._broker.starts(list(cuts))
        left = {place: cut for place, cut in cuts.items() if starts[place] < cut}
        if left:
            self._broker.delete_before(left)
        for topic, spec in self._catalog.specs().items():
            if spec.compacted:
                for partition, cut in self._catalog.cuts(topic).items():
                    self._shorten(self._catalog.companion(topic, partition), cut)

    def _shorten(self, companion: Partition, cut: int) -> None:
        """Deletes copies of records from before a truncation."""
        if self._broker.partitions(companion[0]) is None:
            return
        start, end = self._broker.starts([companion])[companion], self._broker.record_ends([companion])[companion]
        kept = next(
            (one.offset() for one in self._scan.messages(companion, start, end) if former_offset(one) >= cut), end
        )
        if kept > start:
            self._broker.delete_before({companion: kept})

    def forget(self) -> None:
        """A topic was deleted."""
        self._first = {}

    def close(self) -> None:
        with self._lock:
            self._scan.close()

    def _trim(self, spec: TopicSpec, before_ms: int, groups: Sequence[GroupOffset]) -> int:
        places = [self._catalog.place(spec.name, number) for number in range(spec.partitions)]
        starts, ends = self._broker.starts(places), self._broker.ends(places)
        bounds = _bounds(spec, groups, places, starts, ends)
        if not spec.compacted:
            self._compactor.end(spec)
        dropped, cuts = 0, dict[Partition, int]()
        for place in places:
            old = self._old(place, starts[place], bounds[place], before_ms)
            cut, count = self._compactor.copy(spec, place, old) if spec.compacted else _count(old)
            if cut > starts[place]:
                cuts[place] = cut
                dropped += count
        if cuts:
            self._broker.delete_before(cuts)
        return dropped

    def _old(self, place: Partition, start: int, bound: int, before_ms: int) -> Iterator[Any]:
        """The messages from the start that may be dropped."""
        known = self._first.get(place)
        if known is not None and known[0] == start and known[1] >= before_ms:
            return
        for message in self._scan.messages(place, start, bound):
            arrived = arrival_of(message)
            if arrived >= before_ms:
                self._first[place] = (message.offset(), arrived)
                return
            yield message


def _count(messages: Iterator[Any]) -> tuple[int, int]:
    """One past the last, and their number."""
    end, count = 0, 0
    for message in messages:
        end, count = message.offset() + 1, count + 1
    return end, count


def _bounds(
    spec: TopicSpec, groups: Sequence[GroupOffset], places: Sequence[Partition], starts: Starts, ends: Starts
) -> dict[Partition, int]:
    """For each partition, the offset that its slowest group may still read."""
    held: dict[str, dict[int, int]] = {}
    for one in groups:
        if one.topic == spec.name:
            hold = one.next_offset if one.hold is None else one.hold
            held.setdefault(one.group, {})[one.partition] = min(hold, one.next_offset)
    return {place: min([ends[place], *(of.get(place[1], starts[place]) for of in held.values())]) for place in places}
