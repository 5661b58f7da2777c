"""Reads a partition as raw Kafka messages, where more than a record is needed: arrival, headers, copies."""

from collections.abc import Generator
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from headrace.log.kafka.broker import Broker, Partition
from headrace.log.kafka.consuming import Consuming
from headrace.log.kafka.options import KafkaOptions

_BATCH = 1_000


class Scan:
    """One consumer, used by one thread at a time."""

    def __init__(self, options: KafkaOptions, broker: Broker) -> None:
        self._options, self._broker = options, broker
        self._consumer: Consumer | None = None

    def messages(self, place: Partition, start: int, end: int) -> Generator[Any]:
        """Committed messages from `start` to `end`, which the caller has fetched."""
        if start >= end:
            return
        consumer = self._opened()
        consumer.assign([TopicPartition(*place, start)])
        reader, at = Consuming(consumer, place[0], self._broker), start
        while at < end:
            for message in reader.take(_BATCH):
                if message.error() is not None:
                    at = max(at, message.offset() or 0)
                    continue
                at = (message.offset() or 0) + 1
                if at > end:
                    return
                yield message

    def close(self) -> None:
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    def _opened(self) -> Consumer:
        if self._consumer is None:
            self._consumer = Consumer(
                self._options.client(
                    **{
                        "group.id": f"{self._options.prefix}reader", "enable.auto.commit": False,
                        "isolation.level": "read_committed", "enable.partition.eof": True, "auto.offset.reset": "earliest",
                        "check.crcs": True, "queued.max.messages.kbytes": 16_384, "fetch.error.backoff.ms": 20, "fetch.wait.max.ms": 100,
                    }
                )
            )  # fmt: skip
        return self._consumer
