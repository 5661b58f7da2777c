"""Where a run of the tests spent its time: by folder, the slowest tests, and those that are slow without the marker.

    python -m headrace.testing.time_per_folder build/tests.xml [DOCUMENT]

The file is pytest's `--junitxml`; in a document, the table replaces the one between `BEGIN` and `END`. Loaded as a plugin, this module adds to each test the CPU time of its process and of those
children that ended in it. What servers take is not in it.
"""

import os
import sys
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

SLOWEST = 20
SLOW_SECONDS = 2.0
"""Of CPU time: a test that takes more carries the marker `slow`."""
BEGIN, END = "<!-- time per folder -->\n", "\n<!-- end of time per folder -->"
_MARKERS = {"slow", "kill", "server"}
_CPU = "cpu_seconds"
_STARTED = pytest.StashKey[float]()


@dataclass(frozen=True, slots=True)
class Taken:
    """What one test took, its fixtures included."""

    name: str
    seconds: float
    cpu_seconds: float
    marked: bool
    """With one of the markers that keep it out of `make test FAST=1`."""

    @property
    def folder(self) -> str:
        return self.name.split(".")[1]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    item.stash[_STARTED] = _cpu_seconds()
    item.user_properties += [(name, "1") for name in _MARKERS if item.get_closest_marker(name)]
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    try:
        return (yield)
    finally:
        item.user_properties.append((_CPU, f"{_cpu_seconds() - item.stash[_STARTED]:.3f}"))


def _cpu_seconds() -> float:
    found = os.times()
    return found.user + found.system + found.children_user + found.children_system


def read(report: Path) -> list[Taken]:
    """Every test of a report of `--junitxml`."""
    return [_taken(one) for one in ET.parse(report).iter("testcase")]  # noqa: S314 - written by this repository's own run


def _taken(case: ET.Element) -> Taken:
    properties = {one.get("name"): one.get("value", "") for one in case.iter("property")}
    cpu, marked = float(properties.get(_CPU, 0)), not _MARKERS.isdisjoint(properties)
    return Taken(f"{case.get('classname')}.{case.get('name')}", float(case.get("time", 0)), cpu, marked)


def table(tests: Iterable[Taken]) -> str:
    """Markdown: a line for each folder, the longest first."""
    ordered = sorted(tests, key=lambda one: one.folder)
    folders = [(name, list(some)) for name, some in groupby(ordered, key=lambda one: one.folder)]
    folders.sort(key=lambda pair: -_sum(pair[1]))
    lines = [_line(f"`tests/{name}/`", some) for name, some in folders]
    return "\n".join(
        ["| folder | tests | seconds | of CPU |", "| --- | ---: | ---: | ---: |", *lines, _line("all", ordered)]
    )


def _sum(tests: Sequence[Taken]) -> float:
    return sum(one.seconds for one in tests)


def _line(name: str, tests: Sequence[Taken]) -> str:
    return f"| {name} | {len(tests):,} | {_sum(tests):,.0f} | {sum(one.cpu_seconds for one in tests):,.0f} |"


def report(tests: Sequence[Taken]) -> str:
    """The table, the slowest tests, and those that should carry the marker `slow`."""
    slowest = sorted(tests, key=lambda one: -one.seconds)[:SLOWEST]
    unmarked = [one for one in tests if one.cpu_seconds > SLOW_SECONDS and not one.marked]
    parts = [table(tests), f"\nThe slowest {SLOWEST}:", *map(_row, slowest)]
    if unmarked:
        parts += [f"\nMore than {SLOW_SECONDS:.0f} s of CPU without the marker `slow`:", *map(_row, unmarked)]
    return "\n".join(parts)


def _row(one: Taken) -> str:
    return f"{one.seconds:7.1f} s, {one.cpu_seconds:6.1f} s of CPU  {one.name}"


def put_into(document: Path, tests: Sequence[Taken]) -> None:
    """Replaces the document's table. ValueError: it has no place for one."""
    text = document.read_text("utf-8")
    before, found, rest = text.partition(BEGIN)
    _, closed, after = rest.partition(END)
    if not (found and closed):
        raise ValueError(f"{document} has no {BEGIN.strip()} … {END.strip()}")
    document.write_text(before + BEGIN + table(tests) + END + after, "utf-8")


def main(arguments: Sequence[str]) -> None:
    """Prints the report of a run, and puts its table into the documents that are named."""
    tests = read(Path(arguments[0]))
    for document in arguments[1:]:
        put_into(Path(document), tests)
    sys.stdout.write(report(tests) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
