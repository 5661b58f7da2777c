"""A local cluster as large as the queries of some files declare it."""

from pathlib import Path

import pytest

from headrace.cluster.configuration import ClusterPorts, ClusterSize, at_least, flink_config
from headrace.doors.cli.cluster import _fitting

SEED = Path(__file__).resolve().parents[2] / "examples" / "seed"


def settings(size: ClusterSize) -> dict[str, str]:
    lines = flink_config(Path("/data"), ClusterPorts(), size).splitlines()
    return dict(line.split(": ", 1) for line in lines)


def process_size(size: ClusterSize) -> int:
    """MB of a TaskManager's process, as Flink adds them up."""
    told = settings(size)
    names = ("framework.heap", "task.heap", "framework.off-heap", "managed", "jvm-metaspace")
    pools = sum(int(told[f"taskmanager.memory.{name}.size"].strip('"').removesuffix("m")) for name in names)
    rest = ("network.max", "jvm-overhead.max")
    return pools + sum(int(told[f"taskmanager.memory.{name}"].strip('"').removesuffix("m")) for name in rest)


@pytest.mark.parametrize("megabytes", [1_024, 2_048, 8_192])
def test_a_process_gets_the_memory_that_is_declared(megabytes: int) -> None:
    assert process_size(at_least(ClusterSize(), process=megabytes)) == megabytes


def test_managed_memory_and_slots_grow_and_nothing_ever_shrinks() -> None:
    grown = at_least(ClusterSize(), slots=12, managed=512)
    assert settings(grown)["taskmanager.memory.managed.size"] == '"512m"'
    assert settings(grown)["taskmanager.numberOfTaskSlots"] == "12"
    assert at_least(ClusterSize(), slots=1, process=1, flink=1, managed=1) == ClusterSize()


def test_memory_without_the_jvm_is_counted_without_the_jvm() -> None:
    size = at_least(ClusterSize(), flink=1_024)
    assert process_size(size) == 1_024 + size.task_metaspace + 64


def test_the_files_say_how_large_it_must_be() -> None:
    size = _fitting(ClusterSize(), [str(SEED)])
    assert settings(size)["taskmanager.memory.managed.size"] == '"2048m"'
    assert process_size(size) == 10_240
