"""Fixtures with a real Kafka and a real Flink: one of each per pytest session, started when a test first asks.

    from headrace.testing.cluster import flink_cluster, kafka_address  # noqa: F401 - in a conftest.py

`kafka_address` is the broker's host:port; `flink_cluster` the LocalCluster with both. Whichever comes first, the other adds to what
runs. Tests that kill a server start it again before they end (`running` does it). Topics are theirs to name apart.
"""

import atexit
import os
import re
import shutil
import tempfile
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import fields
from functools import cache
from pathlib import Path

import psutil
import pytest

from headrace.cluster import ClusterPorts, LocalCluster
from headrace.cluster.jars import default_cache, fetch
from headrace.cluster.java import find_java
from headrace.foundation.errors import MissingExtraError, UnavailableError
from headrace.testing.ports import free_ports
from headrace.testing.servers import require_marker, skip_or_fail

_PREFIX = "headrace-cluster-"


@cache
def why_absent(*parts: str) -> str | None:
    """The reason for which these parts (kafka, flink) cannot be had here; None: they can, and their jars are here."""
    try:
        find_java()
        for part in parts:
            fetch(part, default_cache())
    except (MissingExtraError, UnavailableError) as error:
        return str(error)
    return None


def skip_where_absent(*parts: str) -> None:
    """Skips the test with the reason; with CI=true, where nothing may go untested, it fails."""
    require_marker(" and ".join(parts))
    skip_or_fail(why_absent(*parts))


def free_cluster_ports() -> ClusterPorts:
    """A port for each server."""
    return ClusterPorts(*free_ports(len(fields(ClusterPorts))))


def temporary_folder() -> Path:
    """A folder whose name holds this process's pid; those of processes that were killed are removed."""
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        owner = re.match(rf"{_PREFIX}(\d+)-", left.name)
        if owner and not psutil.pid_exists(int(owner[1])):
            shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))


@cache
def _room() -> tuple[Path, ClusterPorts]:
    """The session's one folder and its ports."""
    folder, ports = temporary_folder(), free_cluster_ports()
    atexit.register(_clear, folder)
    return folder, ports


def _clear(folder: Path) -> None:
    """Servers of a killed session end with it by the kernel's hand; here is the tidy way."""
    if folder.exists():
        LocalCluster(folder / "data").down()
        shutil.rmtree(folder, ignore_errors=True)


def session_cluster(*parts: str) -> LocalCluster:
    """The session's cluster with at least these parts running, all of their servers answering."""
    skip_where_absent(*parts)
    folder, ports = _room()
    cluster = LocalCluster(folder / "data", ports, parts=parts, die_with_parent=True, quick=True)
    cluster.up()
    return cluster


@contextmanager
def running(cluster: LocalCluster, names: Iterable[str] | None = None) -> Generator[LocalCluster]:
    """Afterwards every server runs again, whatever was killed within."""
    try:
        yield cluster
    finally:
        for name in cluster.names if names is None else names:
            cluster.start(name)


@pytest.fixture(scope="session")
def kafka_address() -> str:
    """host:port of a real broker; the test is skipped with the reason where there can be none."""
    return session_cluster("kafka").addresses.kafka


@pytest.fixture(scope="session")
def flink_cluster() -> LocalCluster:
    """A real Kafka and a real Flink; the test is skipped with the reason where there can be none."""
    return session_cluster("kafka", "flink")
