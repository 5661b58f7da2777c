"""Which tests share a process where several processes run side by side (pytest-xdist: `-n N --dist loadgroup --no-loadscope-reorder`).

Tests that need Kafka or Flink are one group, so that one cluster serves all of them; it goes first, because it is the longest and
waits more than it computes. Each other folder of tests is a group too: what its session fixtures make is made once. Where a folder
is too long for one process, `@pytest.mark.xdist_group("NAME")` divides it.
"""

import os

import pytest

CLUSTER = "cluster"
CLUSTER_FIXTURES = frozenset({"kafka_address", "flink_cluster", "schema_registry"})
MOST_PROCESSES = 8
"""Each holds torch and the engines: half a gigabyte."""
_GROUP, _LONG = "xdist_group", ("slow", "kill")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than the machine has cores, because the group of the cluster waits most of its time."""
    return min(MOST_PROCESSES, len(os.sched_getaffinity(0)) + 1)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Gives each test its group and puts the tests in the order in which they are handed out: the longest groups come first."""
    groups: dict[str, list[pytest.Item]] = {CLUSTER: []}
    for item in items:
        if (chosen := item.get_closest_marker(_GROUP)) is None:
            item.add_marker(chosen := pytest.mark.xdist_group(_group_of(item)))
        groups.setdefault(str(chosen.args[0]), []).append(item)
    first, *others = groups.values()
    items[:] = first + [item for some in sorted(others, key=_how_long, reverse=True) for item in some]


def _group_of(item: pytest.Item) -> str:
    if CLUSTER_FIXTURES.intersection(getattr(item, "fixturenames", ())):
        return CLUSTER
    return item.path.relative_to(item.config.rootpath).parts[1]


def _how_long(items: list[pytest.Item]) -> tuple[int, int]:
    """By tests that are slow or kill something, then by number."""
    return sum(1 for item in items if any(item.get_closest_marker(name) for name in _LONG)), len(items)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Takes the group off a test's name, where pytest-xdist put it behind an @: the name must be one that pytest finds."""
    name, at, group = report.nodeid.rpartition("@")
    if at and hasattr(report, "node") and "]" not in group:
        report.nodeid = name
