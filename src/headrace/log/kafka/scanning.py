"""Reading a partition as Kafka's own messages, for what needs more than a record says: arrival, headers, copies."""

from collections.abc import Generator
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from headrace.foundation.errors import UnavailableError
from headrace.log.kafka.broker import REQUEST_SECONDS, Partition
from headrace.log.kafka.errors import END_OF_PARTITION, passes, translate
from headrace.log.kafka.options import KafkaOptions

_BATCH = 1_000
_POLL_SECONDS = 0.2


class Scan:
    """One consumer, for one thread at a time."""

    def __init__(self, options: KafkaOptions) -> None:
        self._options = options
        self._consumer: Consumer | None = None

    def messages(self, place: Partition, start: int, end: int) -> Generator[Any]:
        """Committed messages from `start` on, up to `end`, which the caller has asked for."""
        if start >= end:
            return
        consumer = self._opened()
        consumer.assign([TopicPartition(*place, start)])
        at, waited = start, 0.0
        while at < end:
            messages = consumer.consume(_BATCH, 0) or consumer.consume(1, _POLL_SECONDS)
            waited = 0.0 if messages else waited + _POLL_SECONDS
            if waited >= REQUEST_SECONDS:
                raise UnavailableError(
                    f"no record of {place[0]} came for {waited:.0f} s", where=self._options.bootstrap_servers
                )
            for message in messages:
                error = message.error()
                if error is None:
                    at = (message.offset() or 0) + 1
                    if at > end:
                        return
                    yield message
                elif error.code() == END_OF_PARTITION:
                    at = max(at, message.offset() or 0)
                elif not passes(error):
                    raise translate(error, self._options.bootstrap_servers)

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
