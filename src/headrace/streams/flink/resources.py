"""The sizes that a query declares beside those that a cluster has: they belong to its processes, and a job cannot change them."""

import re
from collections.abc import Mapping

from headrace.foundation.errors import InvalidDeclarationError
from headrace.streams.flink.job_manager import JobManager

_SIZE = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?(?:ytes)?\s*$", re.IGNORECASE)
_FACTORS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}
_JOB_MANAGER_KEY = "jobmanager.memory.process.size"


def parse_size(text: str) -> int:
    """Bytes of `512m`, `1g`, `2 gb`, `1Gi`: powers of 1024, as Flink reads them. InvalidDeclarationError."""
    match = _SIZE.match(text)
    if match is None:
        raise InvalidDeclarationError(f"{text!r} is no size of memory", next_step="write it like 512m or 2g")
    return int(float(match[1]) * _FACTORS[match[2].lower()])


def resource_notes(cluster: JobManager, declared: Mapping[str, str]) -> tuple[str, ...]:
    """A sentence for each declared size that the cluster does not have; none where everything fits."""
    notes: list[str] = []
    managers = cluster.task_managers()
    if "taskmanagerMemory" in declared:
        smallest = min((one.process_bytes for one in managers), default=None)
        notes += _short("taskmanagerMemory", declared["taskmanagerMemory"], "the smallest TaskManager", smallest)
    if "jobmanagerMemory" in declared:
        told = cluster.configuration().get(_JOB_MANAGER_KEY)
        size = parse_size(told) if told else None
        notes += _short("jobmanagerMemory", declared["jobmanagerMemory"], "the JobManager", size)
    if "taskSlots" in declared:
        most = max((one.slots for one in managers), default=0)
        if most < int(declared["taskSlots"]):
            notes.append(
                f"taskSlots is {declared['taskSlots']} and the cluster's TaskManagers have {most} each: set "
                "taskmanager.numberOfTaskSlots on the cluster"
            )
    return tuple(notes)


def _short(key: str, declared: str, who: str, has: int | None) -> list[str]:
    wanted = parse_size(declared)
    if has is None:
        return [f"{key} is {declared}; what {who} of the cluster has, it does not tell"]
    if has >= wanted:
        return []
    return [f"{key} is {declared} and {who} of the cluster has {has // 1024**2} MB: give it more where it is started"]
