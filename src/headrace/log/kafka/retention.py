"""What may go: records that arrived before a moment and that every group has passed."""

from headrace.log.kafka.broker import Partition
from headrace.log.kafka.cursors import Cursors

_SCAN = 10_000


def first_to_keep(cursors: Cursors, partition: Partition, start: int, limit: int, before_ms: int) -> tuple[int, int]:
    """The first record, from `start` to `limit`, that arrived at `before_ms` or later, and how many lie before it."""
    offset, count = start, 0
    while offset < limit:
        records = cursors.read(partition, offset, _SCAN, 64 << 20)
        if not records:
            return limit, count
        for record in records:
            if record.offset >= limit:
                return limit, count
            if record.ingested_at >= before_ms:
                return record.offset, count
            count += 1
        offset = records[-1].offset + 1
    return limit, count
