"""The sizes that a query declares beside those that a cluster has: they belong to its processes, and a job cannot change them."""

import re
from collections.abc import Iterator, Mapping

from headrace.foundation.errors import InvalidDeclarationError
from headrace.streams.flink.job_manager import JobManager, TaskManager

_SIZE = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?(?:ytes)?\s*$", re.IGNORECASE)
_FACTORS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}
_OPTIONS = {
    "processMemorySize": "taskmanager.memory.process.size",
    "flinkMemorySize": "taskmanager.memory.flink.size",
    "managedMemorySize": "taskmanager.memory.managed.size",
}
"""Flink's own names of them."""


def parse_size(text: str) -> int:
    """Bytes of `512m`, `1g`, `2 gb`, `1Gi`: powers of 1024, as Flink reads them. InvalidDeclarationError."""
    match = _SIZE.match(text)
    if match is None:
        raise InvalidDeclarationError(f"{text!r} is not a memory size", next_step="use a form such as 512m or 2g")
    return int(float(match[1]) * _FACTORS[match[2].lower()])


def resource_notes(cluster: JobManager, declared: Mapping[str, str]) -> tuple[str, ...]:
    """A sentence for each declared size that a TaskManager of the cluster does not have; none where everything fits."""
    return tuple(_notes(cluster.task_managers(), declared)) if declared else ()


def _notes(managers: list[TaskManager], declared: Mapping[str, str]) -> Iterator[str]:
    for key, option in _OPTIONS.items():
        has = min((_size(one, key) for one in managers), default=None)
        if key in declared and has is not None and has < parse_size(declared[key]):
            yield (
                f"{key} is {declared[key]} and a TaskManager of the cluster has {has // 1024**2}m: set {option} there, "
                "for a job cannot"
            )


def _size(manager: TaskManager, key: str) -> int:
    if key == "processMemorySize":
        return manager.process_bytes
    return manager.flink_bytes if key == "flinkMemorySize" else manager.managed_bytes
