"""Which tests share a process where several processes run side by side (pytest-xdist: `-n N --dist loadgroup --no-loadscope-reorder`).

Tests that need Flink are one group, so that one cluster serves all of them; those that need Kafka alone are another, with a broker
that nobody kills beneath them. Both go first, because they are the longest and wait more than they compute. Each other folder of
tests is a group too: what its session fixtures make is made once. Where a folder is too long for one process,
`@pytest.mark.xdist_group("NAME")` divides it.
"""

import os
from collections.abc import Sequence

import pytest

CLUSTERS = {"flink_cluster": "flink", "schema_registry": "kafka", "kafka_address": "kafka"}
"""The group of whatever asks for a fixture; the first that fits."""
MOST_PROCESSES = 8
"""Each holds torch and the engines: half a gigabyte."""
_GROUP, _LONG = "xdist_group", ("slow", "kill")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than the machine has cores, because the groups of the clusters wait most of their time."""
    return min(MOST_PROCESSES, len(os.sched_getaffinity(0)) + 1)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Gives each test its group and puts the tests in the order in which they are handed out: the longest groups come first."""
    groups: dict[str, list[pytest.Item]] = {}
    for item in items:
        if (chosen := item.get_closest_marker(_GROUP)) is None:
            item.add_marker(chosen := pytest.mark.xdist_group(_group_of(item)))
        groups.setdefault(str(chosen.args[0]), []).append(item)
    ordered = sorted(groups.items(), key=lambda pair: (_rank(pair[0]), _how_long(pair[1])), reverse=True)
    items[:] = [item for _, some in ordered for item in some]


def _group_of(item: pytest.Item) -> str:
    asked: Sequence[str] = getattr(item, "fixturenames", ())
    for fixture, group in CLUSTERS.items():
        if fixture in asked:
            return group
    return item.path.relative_to(item.config.rootpath).parts[1]


def _rank(group: str) -> int:
    waits = list(CLUSTERS.values())
    return len(waits) - waits.index(group) if group in waits else 0


def _how_long(items: list[pytest.Item]) -> tuple[int, int]:
    """By tests that are slow or kill something, then by number."""
    return sum(1 for item in items if any(item.get_closest_marker(name) for name in _LONG)), len(items)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Takes the group off a test's name, where pytest-xdist put it behind an @: the name must be one that pytest finds."""
    name, at, group = report.nodeid.rpartition("@")
    if at and hasattr(report, "node") and "]" not in group:
        report.nodeid = name
