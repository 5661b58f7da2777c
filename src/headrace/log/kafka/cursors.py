"""Reading a partition from any offset.

A cursor is a consumer on one partition that fetches ahead. A reader that continues where a cursor is gets what has been
fetched; any other reader moves the cursor that has been idle longest.
"""

import threading
from bisect import bisect_left
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from headrace.log.kafka.broker import Broker, Partition
from headrace.log.kafka.consuming import Consuming
from headrace.log.kafka.options import KafkaOptions
from headrace.log.kafka.wire import to_record
from headrace.log.record import Record

CURSORS = 16
"""Cursors kept open per log."""
PER_PARTITION = 3
_BATCH = 100
"""Messages taken at once: few enough that Python's garbage collector does not run while they become records."""
BLOCK, BLOCKS = 512, 32
"""Offsets in a block kept in memory for single lookups, and the number of blocks kept."""


@dataclass(slots=True)
class _Cursor:
    consumer: Consumer
    partition: Partition
    since: int
    """One past the last record it returned."""
    fetched: int
    """One past the last record or marker fetched. Only `held` lies between `since` and this offset."""
    held: list[Record] = field(default_factory=list[Record])
    """Fetched but not yet returned."""
    used: int = 0
    made: int = 0
    """The deletion count of `Cursors` when this cursor was created."""

    def stands_at(self, offset: int) -> bool:
        """Whether its next record is the one that a reader from `offset` needs."""
        return self.since <= offset <= (self.held[0].offset if self.held else self.fetched)


class Cursors:
    """All readers of one log. Thread-safe; one thread uses a cursor at a time."""

    def __init__(self, options: KafkaOptions, broker: Broker) -> None:
        self._options, self._broker = options, broker
        self._idle: list[_Cursor] = []
        self._blocks: dict[tuple[Partition, int], list[Record]] = {}
        self._lock = threading.Lock()
        self._turn = 0
        self._made = 0
        """Grows when topics are deleted; older cursors are then useless."""
        self._closed = False

    def read(self, partition: Partition, offset: int, end: int, max_records: int, max_bytes: int) -> list[Record]:
        """Committed records from `offset` to `end` (known to the caller), within the limits; at least one if there is one."""
        if offset >= end or max_records < 1:
            return []
        if max_records == 1 and (found := self._one(partition, offset, end)) is not None:
            return [found]
        with self._lent(partition, offset) as cursor:
            return self._take(cursor, end, max_records, max_bytes)

    def _one(self, partition: Partition, offset: int, end: int) -> Record | None:
        """A single record, from a cached block of neighbours: lineage and reasking look up many scattered records."""
        start = offset // BLOCK * BLOCK
        if start + BLOCK > end:
            return None  # this block may still grow
        with self._lock:
            block = self._blocks.pop((partition, start), None)
        if block is None:
            block = list[Record]()
            while not block or block[-1].offset < start + BLOCK - 1:
                with self._lent(partition, block[-1].offset + 1 if block else start) as cursor:
                    more = self._take(cursor, start + BLOCK, BLOCK, 1 << 30)
                if not more:
                    break
                block += more
        with self._lock:
            self._blocks[partition, start] = block
            while len(self._blocks) > BLOCKS:
                del self._blocks[next(iter(self._blocks))]
        place = bisect_left(block, offset, key=lambda record: record.offset)
        return block[place] if place < len(block) else None

    def forget(self) -> None:
        """A topic was deleted: a new one with the same name may exist."""
        with self._lock:
            self._made += 1
            self._blocks.clear()
            idle, self._idle = self._idle, []
        for cursor in idle:
            cursor.consumer.close()

    def close(self) -> None:
        self._closed = True
        self.forget()

    @contextmanager
    def _lent(self, partition: Partition, offset: int) -> Generator[_Cursor]:
        cursor = self._borrow(partition, offset)
        try:
            yield cursor
        except BaseException:
            cursor.consumer.close()  # its position is no longer known
            raise
        self._give_back(cursor)

    def _borrow(self, partition: Partition, offset: int) -> _Cursor:
        with self._lock:
            here = [one for one in self._idle if one.partition == partition]
            found = next((one for one in here if one.stands_at(offset)), None)
            if found is None and len(here) >= PER_PARTITION:
                found = min(here, key=lambda one: one.used)
            if found is not None:
                self._idle.remove(found)
        if found is None:
            return self._open(partition, offset)
        if not found.stands_at(offset):
            self._seek(found, offset)
        return found

    def _give_back(self, cursor: _Cursor) -> None:
        with self._lock:
            self._turn += 1
            cursor.used = self._turn
            self._idle.append(cursor)
            useless = self._closed or cursor.made != self._made
            surplus = min(self._idle, key=lambda one: one.used) if len(self._idle) > CURSORS else None
            surplus = cursor if useless else surplus
            if surplus is not None:
                self._idle.remove(surplus)
        if surplus is not None:
            surplus.consumer.close()

    def _open(self, partition: Partition, offset: int) -> _Cursor:
        consumer = Consumer(
            self._options.client(
                **{
                    "group.id": f"{self._options.prefix}reader", "enable.auto.commit": False, "isolation.level": "read_committed",
                    "enable.partition.eof": True, "auto.offset.reset": "earliest", "check.crcs": True,
                    "queued.max.messages.kbytes": 32_768, "fetch.message.max.bytes": 4 << 20, "fetch.error.backoff.ms": 20,
                    "fetch.wait.max.ms": 100,
                    "fetch.queue.backoff.ms": 2,  # default one second, which a fast reader would wait whenever the queue was full
                }
            )
        )  # fmt: skip
        made = self._made
        consumer.assign([TopicPartition(*partition, offset)])
        return _Cursor(consumer, partition, offset, offset, made=made)

    def _seek(self, cursor: _Cursor, offset: int) -> None:
        if cursor.held and cursor.held[0].offset <= offset < cursor.fetched:
            cursor.held = [record for record in cursor.held if record.offset >= offset]
        else:
            cursor.held = []
            cursor.consumer.assign([TopicPartition(*cursor.partition, offset)])
            cursor.fetched = offset
        cursor.since = offset

    def _take(self, cursor: _Cursor, end: int, max_records: int, max_bytes: int) -> list[Record]:
        found, room, reader = list[Record](), max_bytes, Consuming(cursor.consumer, cursor.partition[0], self._broker)
        while True:
            taken = 0
            for record in cursor.held:
                room -= len(record.value)
                if len(found) == max_records or (found and room < 0) or record.offset >= end:
                    break
                found.append(record)
                taken += 1
            more = taken == len(cursor.held)
            del cursor.held[:taken]
            if not more or cursor.fetched >= end or len(found) == max_records or room <= 0:
                cursor.since = found[-1].offset + 1 if found else cursor.since
                return found
            _fetch(cursor, reader.take(min(_BATCH, max_records - len(found))))


def _fetch(cursor: _Cursor, messages: list[Any]) -> None:
    """Takes the messages that have arrived."""
    for message in messages:
        if message.error() is None:
            cursor.held.append(to_record(message))
            cursor.fetched = cursor.held[-1].offset + 1
        else:
            cursor.fetched = max(cursor.fetched, message.offset() or 0)
