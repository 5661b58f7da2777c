"""Which ids a topic holds: read once, then followed."""

import threading

from headrace.log.kafka.broker import Partition
from headrace.log.kafka.cursors import Cursors


class Identities:
    """id → newest offset, per partition. About 200 bytes of memory for each id. Safe from several threads."""

    def __init__(self, cursors: Cursors) -> None:
        self._cursors = cursors
        self._known: dict[Partition, tuple[dict[str, int], int]] = {}
        self._lock = threading.Lock()

    def of(self, partition: Partition) -> dict[str, int]:
        """As far as the partition goes now. Not to be changed."""
        with self._lock:
            ids, read_to = self._known.get(partition, ({}, 0))
            while records := self._cursors.read(partition, read_to, 10_000, 64 << 20):
                ids.update((record.id, record.offset) for record in records)
                read_to = records[-1].offset + 1
            self._known[partition] = (ids, read_to)
            return ids
