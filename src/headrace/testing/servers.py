"""Tests that start a server carry the marker `server`; one that starts a server without it fails.

Servers are Kafka, Flink, PostgreSQL and a schema registry. `pytest -m "not server"` runs what needs none of them. A test that asks
for one of `SERVER_FIXTURES` gets the marker by itself; a test that starts a server of its own carries it in its file.

    pytest_plugins = ["headrace.testing.servers"]

Without the marker, PostgreSQL is refused where it starts, and Java is hidden from the test and from every process it starts.
"""

import os
from collections.abc import Generator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

MARKER = "server"
SERVER_FIXTURES = frozenset({"kafka_address", "flink_cluster", "postgres", "schema_registry"})
_NO_JAVA = f"""#!/bin/sh
echo "this test starts Java without @pytest.mark.{MARKER}: mark it" >&2
exit 1
"""
_running: list[pytest.Item] = []
"""The test that runs now; empty outside of tests, and where this plugin is not loaded."""


def require_marker(server: str) -> None:
    """Fails the running test where it lacks the marker. Whatever starts a server calls it first."""
    if _running and not _is_marked(_running[-1]):
        pytest.fail(f"this test starts {server} without @pytest.mark.{MARKER}: mark it")


def skip_or_fail(reason: str | None) -> None:
    """Skips the running test where a server cannot be had for a reason; with CI=true, where nothing may go untested, it fails."""
    if reason is not None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests that ask for a server's fixture."""
    for item in items:
        if SERVER_FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(MARKER)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Keeps the running test in mind, and hides Java from it unless it is marked."""
    _running.append(item)
    try:
        with pytest.MonkeyPatch.context() as patch:
            if not _is_marked(item):
                patch.delenv("JAVA_HOME", raising=False)
                patch.setenv("PATH", _no_java().name, prepend=os.pathsep)
            return (yield)
    finally:
        _running.pop()


def _is_marked(item: pytest.Item) -> bool:
    return item.get_closest_marker(MARKER) is not None


@cache
def _no_java() -> "TemporaryDirectory[str]":
    """A folder with a `java` that says why it does not run."""
    folder = TemporaryDirectory(prefix="headrace-no-java-")
    program = Path(folder.name) / "java"
    program.write_text(_NO_JAVA, "utf-8")
    program.chmod(0o755)
    return folder
