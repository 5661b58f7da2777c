"""`headrace cluster`, as a person types it."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from headrace.cluster import LocalCluster
from headrace.testing.cluster import free_cluster_ports, skip_where_absent


def headrace(*arguments: str, cwd: Path, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from headrace.doors.cli import main; main()", *arguments],
        cwd=cwd, capture_output=True, text=True, timeout=120, check=False, env={**os.environ, **(environ or {})},
    )  # fmt: skip


@pytest.fixture
def place(tmp_path: Path) -> Generator[Path]:
    yield tmp_path
    LocalCluster(tmp_path / ".headrace" / "cluster").down()


@pytest.mark.slow
@pytest.mark.server
def test_up_prints_the_settings_status_shows_it_and_down_ends_it(place: Path) -> None:
    skip_where_absent("kafka")
    ports = free_cluster_ports()
    options = ["--only", "kafka", "--kafka-port", str(ports.kafka), "--controller-port", str(ports.controller)]
    up = headrace("cluster", "up", *options, cwd=place)
    assert up.returncode == 0, up.stderr
    assert up.stdout == f'log = "kafka"\nkafka = "127.0.0.1:{ports.kafka}"\n'
    assert "broker answers" in up.stderr

    status = headrace("cluster", "status", "-o", "json", cwd=place)
    assert status.returncode == 0
    (row,) = json.loads(status.stdout)
    assert (row["server"], row["state"], row["address"]) == ("broker", "answers", f"127.0.0.1:{ports.kafka}")
    assert row["memory_mb"] > 50

    again = headrace("cluster", "up", "--only", "kafka", cwd=place)  # the ports are remembered
    assert (again.returncode, again.stdout) == (0, up.stdout)
    same = json.loads(headrace("cluster", "status", "-o", "json", cwd=place).stdout)
    assert same[0]["pid"] == row["pid"]

    down = headrace("cluster", "down", cwd=place)
    assert (down.returncode, down.stderr) == (0, "stopped: broker\n")
    ended = headrace("cluster", "status", cwd=place)
    assert ended.returncode == 1
    assert "down" in ended.stdout
    assert headrace("cluster", "down", cwd=place).stderr == "nothing was running\n"


def test_without_java_the_command_says_how_to_get_one(place: Path) -> None:
    done = headrace("cluster", "up", cwd=place, environ={"PATH": str(place), "JAVA_HOME": ""})
    assert done.returncode == 1
    assert done.stderr.startswith("error: Kafka and Flink need Java 17 or newer: no java is on the PATH — Install")


@pytest.mark.server
def test_a_taken_port_is_an_exit_with_who_has_it(place: Path) -> None:
    skip_where_absent("kafka")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        done = headrace("cluster", "up", "--only", "kafka", "--kafka-port", port, cwd=place)
    assert done.returncode == 5
    assert f"ports are already in use: {port} by" in done.stderr
    assert f"(pid {os.getpid()})" in done.stderr


@pytest.mark.parametrize("command", ["down", "status"])
def test_where_there_is_no_cluster_the_first_step_is_named(place: Path, command: str) -> None:
    done = headrace("cluster", command, cwd=place)
    assert done.returncode == 4
    assert "headrace cluster up" in done.stderr


def test_each_command_shows_an_example(place: Path) -> None:
    for command in ("up", "down"):
        assert "Example: headrace cluster" in headrace("cluster", command, "--help", cwd=place).stdout
