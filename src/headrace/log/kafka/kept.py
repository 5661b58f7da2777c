"""What compaction keeps of a topic: the newest record of each key, in a companion topic that Kafka compacts.

Before retention drops the start of a partition, its keyed records are copied to the companion in order, each with its
offset in a header. A reader below the start of the partition reads the companion first. Its records come in the order of their
former offsets, because trimming only moves forward. Kafka removes replaced records eventually; until then a reader
sees both, in order.
"""

import threading
from dataclasses import dataclass, field
from typing import Any

from msgspec import structs

from headrace.log.kafka.broker import COMPACTED, Broker, Partition
from headrace.log.kafka.options import KafkaOptions
from headrace.log.kafka.scanning import Scan
from headrace.log.kafka.wire import to_record
from headrace.log.record import Record

_AT = "at"
"""The header with a record's original offset."""
CONFIG = {**COMPACTED, "cleanup.policy": "compact,delete", "delete.retention.ms": "86400000"}
"""Nothing is deleted by age, but only this policy lets Kafka delete records that a truncation hides."""


def copy(message: Any, companion: Partition) -> dict[str, Any]:
    """The arguments of `Producer.produce` for a copy. A record without a value removes its key's record."""
    headers = [*(message.headers() or ()), (_AT, b"%d" % message.offset())]
    return {
        "topic": companion[0], "partition": companion[1], "key": message.key(), "value": message.value() or None,
        "timestamp": message.timestamp()[1], "headers": headers,
    }  # fmt: skip


def former_offset(message: Any) -> int:
    """A copied record's original offset."""
    return int(dict(message.headers())[_AT])


@dataclass(slots=True)
class _Reading:
    scan: Scan
    given: int = 0
    """One past the last original offset returned."""
    at: int = 0
    """One past the last companion offset read."""
    held: list[Record] = field(default_factory=list[Record])
    """Read but not yet returned."""


class Kept:
    """Reads companions. Thread-safe. A reader that continues where the last one stopped reads nothing twice; any other starts at the
    companion's beginning.
    """

    def __init__(self, options: KafkaOptions, broker: Broker) -> None:
        self._options, self._broker = options, broker
        self._readings: dict[Partition, _Reading] = {}
        self._lock = threading.Lock()

    def read(self, companion: Partition, offset: int, before: int, max_records: int, max_bytes: int) -> list[Record]:
        """Records whose original offsets are from `offset` to `before`."""
        if self._broker.partitions(companion[0]) is None:
            return []
        end = self._broker.record_ends([companion])[companion]
        with self._lock:
            reading = self._readings.setdefault(companion, _Reading(Scan(self._options, self._broker)))
            if reading.given != offset or (reading.held and reading.held[0].offset < offset):
                reading.given, reading.at, reading.held = offset, 0, []
            return self._take(reading, companion, end, before, max_records, max_bytes)

    def forget(self) -> None:
        """A topic was deleted: companions may be different topics now."""
        with self._lock:
            readings, self._readings = list(self._readings.values()), {}
        for reading in readings:
            reading.scan.close()

    def _take(
        self, reading: _Reading, companion: Partition, end: int, before: int, max_records: int, max_bytes: int
    ) -> list[Record]:
        found, room = list[Record](), max_bytes
        self._fill(reading, companion, end, max_records, max_bytes)
        for record in reading.held:
            room -= len(record.value)
            if record.offset >= before or len(found) == max_records or (found and room < 0):
                break
            found.append(record)
        del reading.held[: len(found)]
        reading.given = found[-1].offset + 1 if found else reading.given
        return found

    def _fill(self, reading: _Reading, companion: Partition, end: int, max_records: int, max_bytes: int) -> None:
        room = max_bytes - sum(len(record.value) for record in reading.held)
        for message in reading.scan.messages(companion, reading.at, end):
            reading.at = message.offset() + 1
            record = structs.replace(to_record(message), offset=former_offset(message))
            if record.offset >= reading.given:
                reading.held.append(record)
                room -= len(record.value)
            if len(reading.held) >= max_records or room < 0:
                return
