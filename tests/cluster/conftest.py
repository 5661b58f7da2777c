from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from headrace.cluster import LocalCluster
from headrace.testing.cluster import flink_cluster, free_cluster_ports, kafka_address, skip_where_absent  # noqa: F401
from headrace.testing.cluster_sql import FlinkSql


@dataclass(frozen=True)
class Numbers:
    """0, 1, 2 … in a topic, to see whether a broker has kept them."""

    address: str
    properties: Mapping[str, str] = field(default_factory=dict)

    def create(self, topic: str) -> None:
        client = AdminClient({"bootstrap.servers": self.address, **self.properties})
        client.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])[topic].result(30)

    def write(self, topic: str, count: int) -> None:
        producer = Producer({"bootstrap.servers": self.address, "enable.idempotence": True, **self.properties})
        for number in range(count):
            producer.produce(topic, str(number).encode())
        assert producer.flush(30) == 0

    def read(self, topic: str) -> list[int]:
        """Every record up to the end of now."""
        consumer = Consumer({"bootstrap.servers": self.address, "group.id": "t", **self.properties})
        _, end = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=30)
        consumer.assign([TopicPartition(topic, 0, 0)])
        found: list[int] = []
        while len(found) < end:
            message = consumer.poll(30)
            assert message is not None
            assert message.error() is None, message.error()
            found.append(int(message.value() or b""))
        consumer.close()
        return found


@pytest.fixture
def numbers() -> type[Numbers]:
    return Numbers


@pytest.fixture
def small(tmp_path: Path) -> Generator[LocalCluster]:
    """A Kafka of the test's own that has not been started, in a folder whose name is no plain word."""
    skip_where_absent("kafka")
    cluster = LocalCluster(
        tmp_path / "my clüster", free_cluster_ports(), parts=["kafka"], die_with_parent=True, quick=True
    )
    yield cluster
    cluster.down()


@pytest.fixture
def flink(flink_cluster: LocalCluster) -> Generator[FlinkSql]:  # noqa: F811
    client = FlinkSql(flink_cluster)
    yield client
    client.close()


@pytest.fixture
def job(flink: FlinkSql) -> Generator[str]:
    """A job that runs without end and has a complete checkpoint."""
    flink.run("SET 'execution.checkpointing.interval' = '500 ms'")
    flink.run("CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '10')")
    flink.run("CREATE TABLE nowhere (n BIGINT) WITH ('connector' = 'blackhole')")
    (row,) = flink.run("INSERT INTO nowhere SELECT n FROM numbers")
    flink.wait_until_running(row[0])
    flink.wait_for_checkpoint(row[0])
    yield row[0]
    flink.wait_until_running(row[0])
    flink.cancel(row[0])
