"""Topics on a real broker, written and read by a plain client, and a real schema registry."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions, NewTopic

from headrace.testing.kafka_topics import FIRST_MS, Seen, Topic
from headrace.testing.kafka_topics import NewTopic as MakeTopic
from headrace.testing.schema_registry import schema_registry

__all__ = ["schema_registry"]

SECONDS = 30


@dataclass
class BrokerTopic(Topic):
    """A topic on a broker."""

    def send(
        self, values: Sequence[bytes | None], *, partition: int = 0, first_ms: int = FIRST_MS, key: bytes | None = b"k",
        headers: Sequence[tuple[str, bytes | None]] = (),
    ) -> None:  # fmt: skip
        producer = Producer({"bootstrap.servers": self.address, "message.max.bytes": 64 << 20})
        for number, value in enumerate(values):
            producer.produce(self.name, value, key, partition, timestamp=first_ms + number, headers=list(headers))
        assert producer.flush(SECONDS) == 0

    def seen(self, partition: int = 0) -> list[Seen]:
        config = {
            "bootstrap.servers": self.address, "group.id": "test", "enable.partition.eof": True, "fetch.wait.max.ms": 20,
        }  # fmt: skip
        found: list[Seen] = []
        with closing(Consumer({**config, "isolation.level": "read_uncommitted"})) as probe:
            _, high = probe.get_watermark_offsets(TopicPartition(self.name, partition), timeout=SECONDS)
        with closing(Consumer({**config, "isolation.level": "read_committed"})) as consumer:
            consumer.assign([TopicPartition(self.name, partition, 0)])
            while True:
                got = consumer.poll(SECONDS)
                assert got is not None
                if not got.error():
                    headers: dict[str, Any] = dict(got.headers() or ())
                    found.append(Seen(got.value() or b"", got.key(), headers, got.timestamp()[1]))
                elif (got.offset() or 0) >= high:
                    return found

    def grow(self, partitions: int) -> None:
        admin = self._admin()
        admin.create_partitions([NewPartitions(self.name, partitions)])[self.name].result(SECONDS)

    def drop_before(self, offset: int, partition: int = 0) -> None:
        admin, place = self._admin(), TopicPartition(self.name, partition, offset)
        admin.delete_records([place])[place].result(SECONDS)

    def delete(self) -> None:
        admin = self._admin()
        admin.delete_topics([self.name])[self.name].result(SECONDS)

    def create(self, partitions: int, config: dict[str, str]) -> None:
        admin = self._admin()  # kept until it has answered
        admin.create_topics([NewTopic(self.name, partitions, 1, config=config)])[self.name].result(SECONDS)

    def _admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.address})


@pytest.fixture
def new_topic(kafka_address: str) -> Iterator[MakeTopic]:
    """What was opened on a topic is closed at the end."""
    made: list[Topic] = []

    def make(partitions: int = 1, **config: str) -> Topic:
        topic = BrokerTopic(kafka_address, f"foreign-{uuid4().hex[:10]}")
        given = {key.replace("_", "."): value for key, value in config.items()}
        topic.create(partitions, {"retention.ms": "-1", **given})  # the messages' times are years ago
        made.append(topic)
        return topic

    yield make
    for topic in made:
        topic.close()
