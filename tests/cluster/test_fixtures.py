"""The fixtures that other rooms' tests stand on."""

from headrace.cluster import LocalCluster


def test_the_address_is_of_a_broker_that_answers(kafka_address: str) -> None:
    from confluent_kafka.admin import AdminClient

    client = AdminClient({"bootstrap.servers": kafka_address})
    assert client.list_topics(timeout=10).brokers


def test_flink_is_added_beside_the_same_broker(kafka_address: str, flink_cluster: LocalCluster) -> None:
    assert flink_cluster.addresses.kafka == kafka_address
    assert all(flink_cluster.answers(name) for name in flink_cluster.names)


def test_all_of_it_together_takes_less_than_its_memory(flink_cluster: LocalCluster) -> None:
    assert 0 < flink_cluster.memory_bytes() < 1_200_000_000
