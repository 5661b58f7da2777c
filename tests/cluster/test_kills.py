"""Each server may be killed: it comes back with what it had."""

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from headrace.cluster import LocalCluster
from headrace.testing.cluster import running
from headrace.testing.cluster_sql import FlinkSql

pytestmark = [pytest.mark.kill, pytest.mark.slow]


def test_a_killed_broker_has_every_acknowledged_record_when_it_is_back(kafka_address: str) -> None:
    from headrace.testing.cluster import session_cluster

    cluster = session_cluster("kafka")
    create_topic(kafka_address, "killed-broker")
    with running(cluster, ["broker"]):
        write(kafka_address, "killed-broker", 1_000)
        cluster.kill("broker")
        assert not cluster.alive("broker")
        assert not cluster.answers("broker")
        cluster.start("broker")
        assert read(kafka_address, "killed-broker") == [str(number) for number in range(1_000)]


def test_a_killed_task_manager_takes_its_job_up_from_a_checkpoint(
    flink_cluster: LocalCluster, flink: FlinkSql, job: str
) -> None:
    with running(flink_cluster):
        flink_cluster.kill("taskmanager")
        before = latest(flink, job)
        flink_cluster.start("taskmanager")
        after = flink.wait_for_checkpoint(job, after=before)
        assert after["counts"]["restored"] >= 1


def test_a_killed_job_manager_finds_its_job_and_its_checkpoint_again(
    flink_cluster: LocalCluster, flink: FlinkSql, job: str
) -> None:
    with running(flink_cluster):
        before = latest(flink, job)
        flink_cluster.kill("jobmanager")
        flink_cluster.start("jobmanager")
        after = flink.wait_for_checkpoint(job, after=before)
        assert after["latest"]["restored"]["id"] >= before
        flink.wait_until_running(job)


def test_a_job_goes_on_without_the_gateway_that_submitted_it(
    flink_cluster: LocalCluster, flink: FlinkSql, job: str
) -> None:
    with running(flink_cluster):
        flink_cluster.kill("gateway")
        before = latest(flink, job)
        flink.wait_for_checkpoint(job, after=before)
        flink_cluster.start("gateway")
        again = FlinkSql(flink_cluster)
        assert again.run("SELECT 1")[0] == [1]
        again.close()


def test_a_killed_zookeeper_takes_no_job_with_it(flink_cluster: LocalCluster, flink: FlinkSql, job: str) -> None:
    with running(flink_cluster):
        before = latest(flink, job)
        flink_cluster.kill("zookeeper")
        flink_cluster.start("zookeeper")
        flink.wait_for_checkpoint(job, after=before + 1)
        flink.wait_until_running(job)


def latest(flink: FlinkSql, job: str) -> int:
    found = flink.checkpoints(job)
    assert found is not None
    return found["latest"]["completed"]["id"]


def create_topic(address: str, name: str) -> None:
    from confluent_kafka.admin import AdminClient, NewTopic

    client = AdminClient({"bootstrap.servers": address})
    client.create_topics([NewTopic(name, num_partitions=1, replication_factor=1)])[name].result(30)


def write(address: str, topic: str, count: int) -> None:
    producer = Producer({"bootstrap.servers": address, "enable.idempotence": True})
    for number in range(count):
        producer.produce(topic, str(number).encode())
    assert producer.flush(30) == 0


def read(address: str, topic: str) -> list[str]:
    """Every record up to the end of now."""
    consumer = Consumer({"bootstrap.servers": address, "group.id": "test", "enable.auto.commit": False})
    partition = TopicPartition(topic, 0, 0)
    _, end = consumer.get_watermark_offsets(partition, timeout=30)
    consumer.assign([partition])
    found: list[str] = []
    while len(found) < end:
        message = consumer.poll(30)
        assert message is not None
        assert message.error() is None, message.error()
        found.append((message.value() or b"").decode())
    consumer.close()
    return found
