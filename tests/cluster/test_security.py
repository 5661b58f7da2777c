"""The listeners with credentials and TLS, asked by a plain client, by the log and by a connector."""

import base64
import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError
from confluent_kafka.admin import AdminClient

from headrace.cluster import KafkaSecurity, LocalCluster
from headrace.cluster.jars import default_cache, fetch
from headrace.cluster.java import find_java
from headrace.cluster.security import certificate
from headrace.connectors.registry import open_sink, open_source
from headrace.connectors.sink import SinkOptions
from headrace.connectors.source import EventTime, SourceContext, SourceOptions
from headrace.foundation.clock import SYSTEM_CLOCK
from headrace.foundation.errors import InvalidDeclarationError, UnavailableError
from headrace.log.kafka import open_log
from headrace.log.kafka.options import read_options
from headrace.log.topic_log import TopicSpec
from headrace.testing.builders import append, new_records
from headrace.testing.cluster import free_cluster_ports, skip_where_absent
from headrace.testing.kafka_topics import SCHEMA, drain, records, row
from headrace.testing.resource_ids import connector_id

pytestmark = [pytest.mark.slow, pytest.mark.server]

USER, WORD = "alice", 'pass "word" \\ é'
SECONDS = 8
"""In which it is said that somebody is refused."""


class _Tokens(BaseHTTPRequestHandler):
    """A token endpoint: who names the right secret gets a token that nobody has signed."""

    def do_POST(self) -> None:
        right = "Basic " + base64.b64encode(b"headrace:secret").decode()
        if self.headers["Authorization"] != right:
            self._answer(401, {"error": "invalid_client", "error_description": "no such client"})
            return
        now = SYSTEM_CLOCK.now_ms() // 1_000
        parts = ({"alg": "none"}, {"sub": "headrace", "iat": now, "exp": now + 3_600})
        token = ".".join(base64.urlsafe_b64encode(json.dumps(one).encode()).decode().rstrip("=") for one in parts)
        self._answer(200, {"access_token": f"{token}.", "token_type": "Bearer", "expires_in": 3_600})

    def _answer(self, status: int, value: dict[str, object]) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the base class
        """Nothing is printed."""


@dataclass(frozen=True)
class Doors:
    """A broker with a user and every kind of listener, and the properties of who may come in."""

    cluster: LocalCluster
    security: KafkaSecurity
    tokens: str

    @property
    def ca(self) -> str:
        return str(certificate(self.cluster.directory / "kafka"))

    def login(self, how: str, *, right: bool = True) -> tuple[str, dict[str, str]]:
        """(address, librdkafka's properties) by MECHANISM, MECHANISM+TLS, or TLS alone."""
        mechanism, _, tls = how.partition("+")
        if how == "TLS":
            trusted = {"ssl.ca.location": self.ca} if right else {}
            return f"127.0.0.1:{self.security.tls_port}", {"security.protocol": "SSL", **trusted}
        port = self.security.sasl_tls_port if tls else self.security.sasl_port
        more = (
            {"security.protocol": "SASL_SSL", "ssl.ca.location": self.ca}
            if tls
            else {"security.protocol": "SASL_PLAINTEXT"}
        )
        who = {"sasl.username": USER, "sasl.password": WORD if right else "wrong-word"}
        if mechanism == "OAUTHBEARER":
            who = {
                "sasl.oauthbearer.method": "oidc", "sasl.oauthbearer.token.endpoint.url": self.tokens,
                "sasl.oauthbearer.client.id": "headrace", "sasl.oauthbearer.client.secret": "secret" if right else "wrong-word",
            }  # fmt: skip
        return f"127.0.0.1:{port}", {**more, "sasl.mechanism": mechanism, **who}


@pytest.fixture(scope="module")
def tokens() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Tokens) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/token"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory, tokens: str) -> Iterator[Doors]:
    skip_where_absent("kafka")
    ports, more = free_cluster_ports(), free_cluster_ports()
    security = KafkaSecurity({USER: WORD}, more.kafka, more.controller, more.gateway, unsigned_tokens=True)
    folder = tmp_path_factory.mktemp("doors") / "data"
    cluster = LocalCluster(folder, ports, parts=["kafka"], security=security, die_with_parent=True, quick=True)
    cluster.up()
    yield Doors(cluster, security, tokens)
    cluster.down()


SASL = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER")
WAYS = (*SASL, *(f"{mechanism}+TLS" for mechanism in SASL), "TLS")


@pytest.mark.parametrize("how", WAYS)
def test_right_credentials_and_certificates_are_let_in_and_others_are_not(doors: Doors, numbers: Any, how: str) -> None:
    address, properties = doors.login(how)
    right, topic = numbers(address, properties), how.replace("+", "-")
    right.create(topic)
    right.write(topic, 3)

    assert right.read(topic) == [0, 1, 2]
    assert refused(*doors.login(how, right=False))


def test_a_client_without_a_login_is_not_let_in(doors: Doors) -> None:
    assert refused(f"127.0.0.1:{doors.security.sasl_port}", {"security.protocol": "plaintext"})


@pytest.mark.parametrize("how", ["PLAIN", "SCRAM-SHA-512+TLS", "OAUTHBEARER", "TLS"])
def test_the_log_lies_behind_a_login(doors: Doors, how: str, tmp_path: Path) -> None:
    address, properties = doors.login(how)
    options = {"kafka": address, "kafka_prefix": f"log-{how.replace('+', '-')}.", **properties}
    with closing(open_log(tmp_path, options=options)) as log:
        log.ensure_topic(TopicSpec("ns.a"))
        append(log, "ns.a", new_records([1, 2]))
        assert [record.id for record in log.read("ns.a", 0)] == ["r1", "r2"]


@pytest.mark.parametrize("how", ["PLAIN", "SCRAM-SHA-512+TLS", "OAUTHBEARER", "TLS"])
def test_the_log_says_within_seconds_that_a_login_is_refused_and_shows_no_secret(
    doors: Doors, how: str, tmp_path: Path
) -> None:
    address, properties = doors.login(how, right=False)
    before = SYSTEM_CLOCK.monotonic()
    with pytest.raises(InvalidDeclarationError, match=r"Kafka refuses .* — Correct kafka_properties") as caught:
        open_log(tmp_path, options={"kafka": address, **properties})

    assert SYSTEM_CLOCK.monotonic() - before < SECONDS
    assert "wrong-word" not in str(caught.value)


def test_a_listener_of_another_kind_is_said_with_its_address_and_what_to_look_at(doors: Doors, tmp_path: Path) -> None:
    address, _ = doors.login("PLAIN")
    with pytest.raises(
        UnavailableError, match=rf"{address}: Kafka: .* — Check .* with its listener's security.protocol"
    ):
        open_log(tmp_path, options={"kafka": address, "connect_seconds": "1"})


@pytest.mark.parametrize("how", ["PLAIN", "SCRAM-SHA-512+TLS", "OAUTHBEARER", "TLS"])
def test_a_source_and_a_sink_are_behind_a_login(doors: Doors, numbers: Any, how: str) -> None:
    topic = f"rows-{how}".replace("+", "-")
    numbers(doors.cluster.addresses.kafka).create(topic)
    given = block(doors, how, topic)
    sink = open_sink(SinkOptions(connector_id(f"to-{topic}"), "kafka", given))
    sink.recover(None)
    sink.write(records([json.loads(row(n)) for n in range(3)]))
    sink.prepare()
    source = open_source(
        SourceOptions(connector_id("things"), "kafka", given, schema=SCHEMA, event_time=EventTime("at", historical=True)), SourceContext()
    )  # fmt: skip
    source.open(None)

    assert drain(source).column("n") == [0, 1, 2]
    source.close()
    sink.close()


@pytest.mark.parametrize("how", ["PLAIN", "SCRAM-SHA-512+TLS", "OAUTHBEARER", "TLS"])
def test_a_source_and_a_sink_say_within_seconds_that_a_login_is_refused_and_show_no_secret(
    doors: Doors, how: str
) -> None:
    given = block(doors, how, "rows", right=False)
    source = open_source(SourceOptions(connector_id("things"), "kafka", given, schema=SCHEMA), SourceContext())
    sink = open_sink(SinkOptions(connector_id("things"), "kafka", given))
    for opening in (lambda: source.open(None), lambda: sink.recover(None)):
        before = SYSTEM_CLOCK.monotonic()
        with pytest.raises(InvalidDeclarationError, match=r"Kafka refuses .* — Correct spec\.kafka\.prop") as caught:
            opening()
        assert SYSTEM_CLOCK.monotonic() - before < SECONDS
        assert "wrong-word" not in f"{caught.value!r} {caught.value}"
    source.close()
    sink.close()


@pytest.mark.parametrize("how", ["PLAIN", "SCRAM-SHA-512+TLS"])
def test_an_engine_outside_logs_in_with_what_the_log_hands_it(doors: Doors, how: str, tmp_path: Path) -> None:
    address, properties = doors.login(how)
    handed = read_options({"kafka": address, **properties}).java()
    lines = [f"{key}={json.dumps(value)[1:-1]}\n" for key, value in handed.items()]
    (tmp_path / "client.properties").write_text("".join(lines), "ascii")
    command = [
        str(find_java().path), "-XX:TieredStopAtLevel=1", "-cp", f"{fetch('kafka', default_cache())}/*", "kafka.admin.ConfigCommand",
        "--bootstrap-server", address, "--command-config", str(tmp_path / "client.properties"),
        "--describe", "--entity-type", "brokers", "--entity-name", "1",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert "Dynamic configs for broker 1" in done.stdout, done.stdout + done.stderr


def test_an_engine_outside_gets_its_tokens_from_the_same_place() -> None:
    given = {
        "security.protocol": "SASL_SSL", "sasl.mechanism": "OAUTHBEARER", "sasl.oauthbearer.method": "oidc",
        "sasl.oauthbearer.token.endpoint.url": "https://login/token", "sasl.oauthbearer.client.id": "headrace",
        "sasl.oauthbearer.client.secret": "secret",
    }  # fmt: skip
    handed = read_options(given).java()

    assert handed["sasl.oauthbearer.token.endpoint.url"] == "https://login/token"
    assert handed["sasl.login.callback.handler.class"].endswith(".OAuthBearerLoginCallbackHandler")
    assert 'clientId="headrace" clientSecret="secret"' in handed["sasl.jaas.config"]


def block(doors: Doors, how: str, topic: str, *, right: bool = True) -> dict[str, object]:
    """The `kafka:` block of a connector."""
    address, properties = doors.login(how, right=right)
    return {"bootstrapServers": address, "topic": topic, "properties": properties}


def refused(address: str, properties: dict[str, str]) -> bool:
    """Whether the client's first connection ends in an error before it is told of any broker."""
    errors: list[KafkaError] = []
    config: dict[str, Any] = {"bootstrap.servers": address, "log_level": "0", "error_cb": errors.append, **properties}
    client = AdminClient(config)
    deadline = SYSTEM_CLOCK.monotonic() + 30
    while not errors:
        assert SYSTEM_CLOCK.monotonic() < deadline
        client.poll(0.05)
    return errors[0].code() in {
        KafkaError._AUTHENTICATION, KafkaError._SSL, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN,
    }  # fmt: skip
