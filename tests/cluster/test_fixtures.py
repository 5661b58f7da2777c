"""The fixtures that other rooms' tests stand on."""

import pytest

from headrace.cluster import LocalCluster
from headrace.testing import cluster as fixtures


def test_the_address_is_of_a_broker_that_answers(kafka_address: str) -> None:
    from confluent_kafka.admin import AdminClient

    client = AdminClient({"bootstrap.servers": kafka_address})
    assert client.list_topics(timeout=10).brokers


def test_flink_is_added_beside_the_same_broker(kafka_address: str, flink_cluster: LocalCluster) -> None:
    assert flink_cluster.addresses.kafka == kafka_address
    assert all(flink_cluster.answers(name) for name in flink_cluster.names)


def test_all_of_it_together_takes_less_than_its_memory(flink_cluster: LocalCluster) -> None:
    assert 0 < flink_cluster.memory_bytes() < 1_200_000_000


def test_what_is_missing_skips_a_test_and_fails_it_where_nothing_may_go_untested(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fixtures, "why_absent", lambda *parts: f"no {parts[0]}")
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no kafka"):
        fixtures.skip_where_absent("kafka")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no kafka"):
        fixtures.skip_where_absent("kafka")
