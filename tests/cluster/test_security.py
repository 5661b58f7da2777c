"""The listeners with credentials and TLS, asked by a real client."""

from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError
from confluent_kafka.admin import AdminClient

from headrace.cluster import KafkaSecurity, LocalCluster
from headrace.cluster.security import certificate
from headrace.foundation.clock import SYSTEM_CLOCK

pytestmark = pytest.mark.slow


def test_right_credentials_and_certificates_are_let_in_and_others_are_not(
    guarded: tuple[LocalCluster, KafkaSecurity], numbers: Any
) -> None:
    cluster, security = guarded
    ca = str(certificate(cluster.directory / "kafka"))
    assert Path(ca).exists()
    for mechanism in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"):
        for port, protocol, more in (
            (security.sasl_port, "sasl_plaintext", {}),
            (security.sasl_tls_port, "sasl_ssl", {"ssl.ca.location": ca}),
        ):
            login = {"security.protocol": protocol, "sasl.mechanism": mechanism, "sasl.username": "alice", **more}
            right = numbers(f"127.0.0.1:{port}", {**login, "sasl.password": security.users["alice"]})
            topic = f"{protocol}-{mechanism}"
            right.create(topic)
            right.write(topic, 3)
            assert right.read(topic) == [0, 1, 2]
            assert refused(port, {**login, "sasl.password": "wrong"})

    over_tls = numbers(f"127.0.0.1:{security.tls_port}", {"security.protocol": "ssl", "ssl.ca.location": ca})
    assert over_tls.read("sasl_ssl-PLAIN") == [0, 1, 2]
    assert refused(security.tls_port, {"security.protocol": "ssl"})  # nobody vouches for the certificate
    assert refused(security.sasl_port, {"security.protocol": "plaintext"})


def refused(port: int | None, properties: dict[str, str]) -> bool:
    """Whether the client's first connection ends in an error before it is told of any broker."""
    errors: list[KafkaError] = []
    client = AdminClient({
        "bootstrap.servers": f"127.0.0.1:{port}", "log_level": "0", "error_cb": errors.append, **properties,
    })  # fmt: skip
    deadline = SYSTEM_CLOCK.monotonic() + 30
    while not errors:
        assert SYSTEM_CLOCK.monotonic() < deadline
        client.poll(0.05)
    return errors[0].code() in {
        KafkaError._AUTHENTICATION, KafkaError._SSL, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN,
    }  # fmt: skip
