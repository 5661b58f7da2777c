"""Which tests share a process where several processes run side by side: `-n auto --dist loadscope --no-loadscope-reorder`.

Tests that need Flink are one group, so that one cluster serves all of them; those that need Kafka alone are another, with a broker of
their own, because tests of the first kill its servers. Both go first: they are the longest, and wait more than they compute. Each
other folder of tests is a group too, so that a session fixture is made once. Where a folder is too long for one process,
`@pytest.mark.xdist_group("NAME")` divides it.

The process that hands tests out collects none, so the first worker writes down which test is in which group. (`--dist loadgroup`
of pytest-xdist 3.8 puts the group into a private attribute of the test, which pytest 9.2 no longer reads.)
"""

import json
import os
import tempfile
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

CLUSTERS = {"flink_cluster": "flink", "schema_registry": "kafka", "kafka_address": "kafka"}
"""The group of whatever asks for a fixture; the first that fits."""
MOST_PROCESSES = 8
"""Each holds torch and the engines: half a gigabyte."""
_GROUP, _LONG, _FILE = "xdist_group", ("slow", "kill"), "groups_file"
_place = pytest.StashKey[Path]()


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than the machine has cores, because the groups of the clusters wait most of their time."""
    return min(MOST_PROCESSES, len(os.sched_getaffinity(0)) + 1)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: WorkerController) -> None:
    """Tells a worker where it writes the groups down."""
    node.workerinput[_FILE] = str(_file_of(node.config))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return GroupScheduling(config, log)


class GroupScheduling(LoadScopeScheduling):
    """Hands out whole groups, in the order of their first tests."""

    @cached_property
    def _groups(self) -> dict[str, str]:
        return json.loads(_file_of(self.config).read_text("utf-8"))

    def _split_scope(self, nodeid: str) -> str:
        return self._groups[nodeid]


def _file_of(config: pytest.Config) -> Path:
    if _place not in config.stash:
        folder = tempfile.TemporaryDirectory(prefix="headrace-groups-")
        config.add_cleanup(folder.cleanup)
        config.stash[_place] = Path(folder.name) / "groups.json"
    return config.stash[_place]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Puts the tests in the order in which they are handed out: the longest groups come first."""
    groups: dict[str, list[pytest.Item]] = {}
    for item in items:
        groups.setdefault(_group_of(item), []).append(item)
    ordered = sorted(groups.items(), key=lambda pair: (_rank(pair[0]), _how_long(pair[1])), reverse=True)
    items[:] = [item for _, some in ordered for item in some]
    worker: dict[str, str] = getattr(config, "workerinput", {})
    if worker.get("workerid") == "gw0":
        names = {item.nodeid: name for name, some in ordered for item in some}
        Path(worker[_FILE]).write_text(json.dumps(names), "utf-8")


def _group_of(item: pytest.Item) -> str:
    if (chosen := item.get_closest_marker(_GROUP)) is not None:
        return str(chosen.args[0])
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
