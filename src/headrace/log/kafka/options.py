"""Addresses, credentials and names."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from headrace.foundation.errors import InvalidDeclarationError

_LOGGER = logging.getLogger("headrace.kafka")
_LOGGER.addHandler(logging.NullHandler())
_LOGGER.propagate = False
DEFAULT_ADDRESS = "127.0.0.1:9092"
DEFAULT_PREFIX = "headrace."
_OURS = frozenset(
    {"transactional.id", "group.id", "isolation.level", "enable.auto.commit", "enable.partition.eof", "auto.offset.reset", "enable.idempotence"}
)  # fmt: skip
"""librdkafka settings that decide whether a record is lost or read twice."""
_JAVA = {"sasl.mechanism": "sasl.mechanism", "sasl.mechanisms": "sasl.mechanism"}
_JAVA_SAME = ("security.protocol", "ssl.endpoint.identification.algorithm", "sasl.oauthbearer.token.endpoint.url")
_SECURITY = "org.apache.kafka.common.security"


def _ignore(error: object) -> None:
    """The client's log output: everything it reports also comes back as the outcome of a call."""
    del error


@dataclass(frozen=True, slots=True)
class KafkaOptions:
    """How to reach the broker."""

    bootstrap_servers: str = DEFAULT_ADDRESS
    prefix: str = DEFAULT_PREFIX
    """Prefix of every topic, group and transactional id, so that a cluster administrator can grant permissions by it."""
    replication: int = -1
    """For new topics; -1: the broker's default."""
    transaction_timeout_ms: int = 60_000
    """When the broker ends a transaction whose writer is gone. Our own are retried, so this only bounds how long readers wait behind a
    killed writer that nothing replaces."""
    connect_seconds: float = 30.0
    """How long opening the log waits for a broker."""
    properties: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    """librdkafka settings: security.protocol, sasl.mechanism, sasl.username, ssl.ca.location … May contain secrets."""

    def client(self, **more: object) -> dict[str, Any]:
        """The configuration of any client. Retries start at 1 ms: every transaction would pay librdkafka's default of 100 ms."""
        return {
            "bootstrap.servers": self.bootstrap_servers,
            "client.id": "headrace",
            "retry.backoff.ms": 1,
            "retry.backoff.max.ms": 500,
            "reconnect.backoff.ms": 20,
            "reconnect.backoff.max.ms": 1_000,
            "socket.keepalive.enable": True,
            "socket.nagle.disable": True,
            "logger": _LOGGER,
            "error_cb": _ignore,
            **self.properties,
            **more,
        }

    def java(self) -> dict[str, str]:
        """The same for a Java client that an outside engine runs."""
        given = {name: str(value) for name, value in self.properties.items()}
        found = {"bootstrap.servers": self.bootstrap_servers}
        found |= {name: given[name] for name in _JAVA_SAME if name in given}
        mechanism = next((given[name] for name in _JAVA if name in given), None)
        if mechanism is not None:
            found["sasl.mechanism"] = mechanism
            found["sasl.jaas.config"] = _jaas(mechanism, given)
        if mechanism == "OAUTHBEARER":
            found["sasl.login.callback.handler.class"] = f"{_SECURITY}.oauthbearer.OAuthBearerLoginCallbackHandler"
        if "ssl.ca.location" in given:
            found |= {"ssl.truststore.type": "PEM", "ssl.truststore.location": given["ssl.ca.location"]}
        return found


def _jaas(mechanism: str, given: Mapping[str, str]) -> str:
    """A login module line for Kafka's Java client."""
    if mechanism == "OAUTHBEARER":
        pairs = {"clientId": "sasl.oauthbearer.client.id", "clientSecret": "sasl.oauthbearer.client.secret", "scope": "sasl.oauthbearer.scope"}  # fmt: skip
        values = " ".join(f'{name}="{_quoted(given[key])}"' for name, key in pairs.items() if key in given)
        return f"{_SECURITY}.oauthbearer.OAuthBearerLoginModule required {values};"
    module = "plain.PlainLoginModule" if mechanism == "PLAIN" else "scram.ScramLoginModule"
    user, password = (_quoted(given.get(name, "")) for name in ("sasl.username", "sasl.password"))
    return f'{_SECURITY}.{module} required username="{user}" password="{password}";'


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def read_options(given: Mapping[str, str]) -> KafkaOptions:
    """InvalidDeclarationError names an option that would break the log's guarantees."""
    known = dict(given)
    address = known.pop("kafka", DEFAULT_ADDRESS)
    prefix = known.pop("kafka_prefix", DEFAULT_PREFIX)
    replication = known.pop("replication", "-1")
    timeout = known.pop("transaction.timeout.ms", "60000")
    for name in known:
        if name in _OURS:
            raise InvalidDeclarationError(
                f"Headrace sets {name} itself", where="kafka_properties", next_step="remove it"
            )
    connect = known.pop("connect_seconds", "30")
    return KafkaOptions(address, prefix, int(replication), int(timeout), float(connect), known)
