"""Reads a topic of the log, from its last truncation and including what compaction kept."""

from headrace.log.kafka.broker import Broker, Partition
from headrace.log.kafka.catalog import Catalog
from headrace.log.kafka.cursors import Cursors
from headrace.log.kafka.kept import Kept
from headrace.log.record import Record


class Reader:
    """Thread-safe."""

    def __init__(self, broker: Broker, catalog: Catalog, cursors: Cursors, kept: Kept) -> None:
        self._broker, self._catalog, self._cursors, self._kept = broker, catalog, cursors, kept

    def read(
        self, topic: str, offset: int, max_records: int = 10_000, max_bytes: int = 64 << 20, partition: int = 0
    ) -> list[Record]:
        """See the port."""
        while True:
            place, end = self.end(topic, partition)
            begin = max(offset, self._catalog.cut(topic, partition))
            if not self._catalog.spec(topic).compacted:
                return self._cursors.read(place, begin, end, max_records, max_bytes)
            found = self._compacted(topic, place, begin, end, max_records, max_bytes)
            if found is not None:
                return found

    def end(self, topic: str, partition: int) -> tuple[Partition, int]:
        """The place, one past the last offset that can be a record, and the catalog's current entry."""
        while True:
            deletions = self._catalog.deletions
            place = self._catalog.place(topic, partition)
            ends = self._broker.record_ends([place, self._catalog.where], still=lambda: self._catalog.stands(topic))
            self._catalog.catch_up(ends[self._catalog.where])
            if self._catalog.deletions == deletions:
                return place, ends[place]

    def _compacted(
        self, topic: str, place: Partition, begin: int, end: int, max_records: int, max_bytes: int
    ) -> list[Record] | None:
        """None: trimming moved the start during the read, so read again."""
        start = self._broker.starts([place])[place]
        if begin < start:
            companion = self._catalog.companion(topic, place[1])
            if found := self._kept.read(companion, begin, start, max_records, max_bytes):
                return found
        begin = max(begin, start)
        records = self._cursors.read(place, begin, end, max_records, max_bytes)
        moved = (not records or records[0].offset > begin) and self._broker.starts([place])[place] > begin
        return None if moved else records
