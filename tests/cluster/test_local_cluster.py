"""Up, down, up again; what is in the way is named, and nothing is left half up."""

import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from typing import Any

import psutil
import pytest

from headrace.cluster import ClusterPorts, ClusterSize, LocalCluster
from headrace.cluster.processes import ServerProcess
from headrace.foundation.clock import SYSTEM_CLOCK
from headrace.foundation.errors import BusyError, InvalidDeclarationError, NotFoundError, UnavailableError
from headrace.testing.cluster import free_cluster_ports, skip_where_absent
from headrace.testing.ports import free_ports

PATIENCE_SECONDS = 60.0

pytestmark = pytest.mark.server


@pytest.mark.slow
def test_what_was_written_is_there_after_down_and_up_also_on_other_ports(small: LocalCluster, numbers: Any) -> None:
    small.up()
    numbers(small.addresses.kafka).create("kept")
    numbers(small.addresses.kafka).write("kept", 100)

    steps: list[str] = []
    pid = small.pid("broker")
    small.up(steps.append)
    assert small.pid("broker") == pid
    assert steps == ["broker answers"]

    small.down()
    assert not small.alive("broker")
    assert small.memory_bytes() == 0
    small.down()  # again: nothing to do
    LocalCluster(small.directory, parts=["kafka"], die_with_parent=True, quick=True).up()
    assert numbers(small.addresses.kafka).read("kept") == list(range(100))

    small.down()
    moved = LocalCluster(small.directory, free_cluster_ports(), parts=["kafka"], die_with_parent=True, quick=True)
    moved.up()
    assert moved.addresses != small.addresses
    assert numbers(moved.addresses.kafka).read("kept") == list(range(100))
    with pytest.raises(BusyError, match="other ports"):
        LocalCluster(small.directory, free_cluster_ports(), parts=["kafka"]).up()
    with pytest.raises(BusyError, match="with other sizes"):
        LocalCluster(small.directory, size=ClusterSize(task_slots=3), parts=["kafka"]).up()
    assert moved.answers("broker")


@pytest.mark.slow
def test_two_that_bring_the_same_folder_up_at_once_share_one_broker(small: LocalCluster) -> None:
    other = LocalCluster(small.directory, small.ports, parts=["kafka"], die_with_parent=True, quick=True)
    failures: list[BaseException] = []

    def bring_up(cluster: LocalCluster) -> None:
        try:
            cluster.up()
        except BaseException as error:  # noqa: BLE001 - shown below
            failures.append(error)

    threads = [threading.Thread(target=bring_up, args=[cluster]) for cluster in (small, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    assert not failures
    assert small.answers("broker")
    assert small.pid("broker") == other.pid("broker")


def test_a_taken_port_is_named_with_who_has_it(small: LocalCluster) -> None:
    with socket.create_server(("127.0.0.1", small.ports.kafka)), pytest.raises(BusyError) as caught:
        small.up()
    assert f"{small.ports.kafka} by" in str(caught.value)
    assert f"(pid {os.getpid()})" in str(caught.value)
    assert not small.alive("broker")


def test_one_port_for_two_servers_is_refused(small: LocalCluster) -> None:
    ports = dataclasses.replace(small.ports, controller=small.ports.kafka)
    with pytest.raises(InvalidDeclarationError, match="twice"):
        LocalCluster(small.directory, ports, parts=["kafka"]).up()


@pytest.mark.slow
def test_a_broker_that_cannot_start_says_why_and_nothing_is_left_half_up(small: LocalCluster) -> None:
    skip_where_absent("flink")
    data = small.directory / "kafka" / "data"
    data.mkdir(parents=True)
    (data / "meta.properties").write_text("version=1\nnode.id=7\ncluster.id=another\n")
    (small.directory / "kafka" / "formatted").touch()
    whole = LocalCluster(small.directory, small.ports, die_with_parent=True, quick=True)
    with pytest.raises(UnavailableError, match=r"(?s)broker exited during startup.*node id 7"):
        whole.up()
    assert [name for name in whole.names if whole.alive(name)] == []


@pytest.mark.slow
def test_a_formatting_that_was_killed_is_begun_anew(small: LocalCluster) -> None:
    data = small.directory / "kafka" / "data"
    data.mkdir(parents=True)
    (data / "meta.properties").write_text("version=1\ncluster.id=hal")
    small.up()
    assert small.answers("broker")


def test_a_pid_that_another_program_has_by_now_is_not_taken_for_the_server(small: LocalCluster) -> None:
    server = ServerProcess("broker", small.directory)
    server.pid_file.parent.mkdir(parents=True)
    started = psutil.Process().create_time() - 3_600
    server.pid_file.write_text(json.dumps({"pid": os.getpid(), "started": started}))
    assert not small.alive("broker")
    small.kill("broker")
    small.down()


def test_a_server_that_does_not_exist_is_refused_with_those_that_do(small: LocalCluster) -> None:
    with pytest.raises(NotFoundError, match="taskmanager"):
        small.kill("brokers")
    with pytest.raises(NotFoundError, match="Run `headrace cluster up` first"):
        small.start("broker")


@pytest.mark.slow
@pytest.mark.kill
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_servers_of_a_killed_test_session_end_with_it(how: signal.Signals) -> None:
    skip_where_absent("kafka")
    program = (
        "import sys; from headrace.testing.cluster import session_cluster\n"
        "print(session_cluster('kafka').pid('broker'), flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    with child.stdout, child.stdin:  # pyright: ignore[reportOptionalContextManager]
        broker = psutil.Process(int(child.stdout.readline()))
        child.send_signal(how)
        child.wait(PATIENCE_SECONDS)
    deadline = SYSTEM_CLOCK.monotonic() + PATIENCE_SECONDS
    while broker.is_running() and broker.status() != psutil.STATUS_ZOMBIE:
        assert SYSTEM_CLOCK.monotonic() < deadline
        SYSTEM_CLOCK.sleep(0.05)


def test_ports_are_chosen_outside_the_range_from_which_programs_take_their_own() -> None:
    ports = free_ports(50)
    assert len(set(ports)) == 50
    assert max(ports) < 32_768
    assert ClusterPorts().kafka == 9092
