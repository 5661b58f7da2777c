"""Tests of a group share a process, and the run says of each test what a run in one process says."""

import subprocess
import sys
from pathlib import Path

import pytest

TEST = """
import os, pathlib, pytest

@pytest.mark.parametrize("number", [1, 2])
def test_place(number, request, {fixture}):
    with (request.config.rootpath / "places").open("a") as file:
        file.write("{group} " + os.environ["PYTEST_XDIST_WORKER"] + "\\n")
    assert ("{group}", number) != ("one", 2)
"""
FIXTURES = """
import pytest

@pytest.fixture(scope="session")
def kafka_address(): ...

@pytest.fixture(scope="session")
def flink_cluster(kafka_address): ...
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Three folders; tests that need Kafka and Flink in two of them."""
    places = {
        "one/test_a": ("one", "tmp_path"), "one/test_b": ("flink", "flink_cluster"), "one/test_c": ("kafka", "kafka_address"),
        "two/test_a": ("two", "tmp_path"), "two/test_b": ("flink", "flink_cluster"), "two/test_c": ("kafka", "kafka_address"),
        "three/test_a": ("three", "tmp_path"), "three/test_b": ("three", "tmp_path"),
    }  # fmt: skip
    for name, (group, fixture) in places.items():
        path = tmp_path / "tests" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(TEST.format(group=group, fixture=fixture), "utf-8")
    (tmp_path / "tests" / "conftest.py").write_text(FIXTURES, "utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = server", "utf-8")
    return tmp_path


@pytest.mark.slow
def test_a_group_stays_in_one_process_and_a_failure_in_any_fails_the_run_under_the_tests_own_name(
    project: Path,
) -> None:
    plugins = ["servers", "groups", "time_per_folder"]
    done = subprocess.run(
        [
            sys.executable, "-m", "pytest", "-q", "-n", "3", "--dist", "loadscope", "--no-loadscope-reorder",
            *(word for one in plugins for word in ("-p", f"headrace.testing.{one}")), "--import-mode=importlib", "tests",
        ],
        cwd=project, capture_output=True, text=True, check=False,
    )  # fmt: skip
    lines = [line.split() for line in (project / "places").read_text().splitlines()]
    workers = {group: {worker for name, worker in lines if name == group} for group, _ in lines}
    assert {group: len(some) for group, some in workers.items()} == dict.fromkeys(
        ("flink", "kafka", "one", "two", "three"), 1
    )
    assert len(lines) == 16
    assert workers["flink"].isdisjoint(workers["kafka"])
    assert done.returncode == 1
    assert "FAILED tests/one/test_a.py::test_place[2] - " in done.stdout
    assert "1 failed, 15 passed in" in done.stdout
