"""The fixtures that other rooms' tests stand on."""

import shutil
import subprocess
from types import ModuleType

import pytest

from headrace.cluster import LocalCluster
from headrace.testing import cluster, postgres_server, schema_registry


def test_the_address_is_of_a_broker_that_answers(kafka_address: str) -> None:
    from confluent_kafka.admin import AdminClient

    client = AdminClient({"bootstrap.servers": kafka_address})
    assert client.list_topics(timeout=10).brokers


def test_flink_is_added_beside_the_same_broker(kafka_address: str, flink_cluster: LocalCluster) -> None:
    assert flink_cluster.addresses.kafka == kafka_address
    assert all(flink_cluster.answers(name) for name in flink_cluster.names)


def test_all_of_it_together_takes_less_than_its_memory(flink_cluster: LocalCluster) -> None:
    assert 0 < flink_cluster.memory_bytes() < 1_200_000_000


@pytest.mark.server
@pytest.mark.parametrize(
    ("server", "parts"), [(cluster, ["kafka"]), (cluster, ["kafka", "flink"]), (postgres_server, []), (schema_registry, [])]
)  # fmt: skip
def test_a_missing_server_skips_a_test_and_fails_it_where_nothing_may_go_untested(
    server: ModuleType, parts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "why_absent", lambda *parts: f"no server {parts}")
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no server"):
        server.skip_where_absent(*parts)
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no server"):
        server.skip_where_absent(*parts)


@pytest.mark.parametrize(
    ("server", "parts"), [(cluster, ["kafka"]), (cluster, ["kafka", "flink"]), (postgres_server, []), (schema_registry, [])]
)  # fmt: skip
def test_a_test_without_the_marker_may_start_no_server(server: ModuleType, parts: list[str]) -> None:
    with pytest.raises(pytest.fail.Exception, match=r"without @pytest\.mark\.server"):
        server.skip_where_absent(*parts)


def test_a_test_without_the_marker_cannot_start_postgresql_by_hand_either() -> None:
    with pytest.raises(pytest.fail.Exception, match="starts PostgreSQL"), postgres_server.postgres_server():
        pass


def test_a_test_without_the_marker_and_its_children_find_no_java() -> None:
    java = shutil.which("java")
    assert java is not None
    done = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "mark it" in done.stderr
