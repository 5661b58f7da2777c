"""A job of a real Flink that logs in to Kafka with what the log was given."""

from collections.abc import Generator, Mapping
from pathlib import Path

import pytest

from headrace.cluster import KafkaSecurity, LocalCluster
from headrace.cluster.security import certificate
from headrace.testing.cluster import free_cluster_ports, skip_where_absent
from headrace.testing.query_desk import Desk, numbers

pytestmark = [pytest.mark.slow, pytest.mark.server]

USER, WORD = "alice", 'pass "word" \\ é'


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Generator[tuple[LocalCluster, KafkaSecurity]]:
    skip_where_absent("kafka", "flink")
    more = free_cluster_ports()
    security = KafkaSecurity({USER: WORD}, more.kafka, more.controller, more.gateway)
    folder = tmp_path_factory.mktemp("guarded")
    cluster = LocalCluster(folder, free_cluster_ports(), security=security, die_with_parent=True, quick=True)
    cluster.up()
    yield cluster, security
    cluster.down()


def logins(cluster: LocalCluster, security: KafkaSecurity) -> Mapping[str, Mapping[str, str]]:
    known = {"sasl.username": USER, "sasl.password": WORD}
    tls = {"ssl.ca.location": str(certificate(cluster.directory / "kafka"))}
    return {
        "PLAIN": {
            "kafka": f"127.0.0.1:{security.sasl_port}", "security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN",
            **known,
        },
        "SCRAM and TLS": {
            "kafka": f"127.0.0.1:{security.sasl_tls_port}", "security.protocol": "SASL_SSL",
            "sasl.mechanism": "SCRAM-SHA-512", **known, **tls,
        },
    }  # fmt: skip


@pytest.mark.parametrize("login", ["PLAIN", "SCRAM and TLS"])
def test_a_job_logs_in_as_the_log_does(guarded: tuple[LocalCluster, KafkaSecurity], tmp_path: Path, login: str) -> None:
    desk = Desk.on_the_cluster(tmp_path, guarded[0], logins(*guarded)[login])
    try:
        desk.feed(1, 2, 3)
        assert numbers(desk.run("SELECT price * 2 AS n FROM source_stream", [2, 4, 6])) == [2, 4, 6]
    finally:
        desk.close()
