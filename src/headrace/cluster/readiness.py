"""Whether a server really answers its own protocol."""

import logging
import socket
from collections.abc import Callable

import httpx

from headrace.cluster.configuration import HOST, ClusterPorts

_TIMEOUT_SECONDS = 2.0
_SILENT = logging.getLogger("headrace.cluster.kafka")
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False


def kafka_answers(port: int) -> bool:
    """Whether the broker at the port identifies itself in its metadata."""
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    if not _listens(port):
        return False
    client = AdminClient({"bootstrap.servers": f"{HOST}:{port}", "socket.timeout.ms": 2_000}, logger=_SILENT)
    try:
        return bool(client.list_topics(timeout=_TIMEOUT_SECONDS).brokers)
    except KafkaException:
        return False


def zookeeper_answers(port: int) -> bool:
    """Whether ZooKeeper serves: it then reports its mode in response to `srvr`."""
    try:
        with socket.create_connection((HOST, port), timeout=_TIMEOUT_SECONDS) as line:
            line.sendall(b"srvr")
            answer = b""
            while part := line.recv(4_096):
                answer += part
    except OSError:
        return False
    return b"Mode:" in answer


def jobmanager_answers(port: int) -> bool:
    return _overview(port) is not None


def taskmanager_answers(rest_port: int) -> bool:
    """Whether a TaskManager is registered with the JobManager."""
    overview = _overview(rest_port)
    return overview is not None and int(str(overview.get("taskmanagers", 0))) >= 1


def gateway_answers(port: int) -> bool:
    return _get(f"http://{HOST}:{port}/v4/info") is not None


def probes(ports: ClusterPorts) -> dict[str, Callable[[], bool]]:
    """By the server's name."""
    return {
        "zookeeper": lambda: zookeeper_answers(ports.zookeeper),
        "broker": lambda: kafka_answers(ports.kafka),
        "jobmanager": lambda: jobmanager_answers(ports.flink_rest),
        "taskmanager": lambda: taskmanager_answers(ports.flink_rest),
        "gateway": lambda: gateway_answers(ports.gateway),
    }


def _overview(rest_port: int) -> dict[str, object] | None:
    return _get(f"http://{HOST}:{rest_port}/overview")


def _get(url: str) -> dict[str, object] | None:
    """The object; None if the server does not answer, or not yet with an object."""
    try:
        with httpx.Client(trust_env=False, timeout=_TIMEOUT_SECONDS) as client:
            answer = client.get(url)
            found = answer.json() if answer.is_success else None
    except (httpx.TransportError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _listens(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=_TIMEOUT_SECONDS).close()
    except OSError:
        return False
    return True
