"""A replica's resource limits: set before NumPy or torch is imported."""

import os
import resource
from dataclasses import dataclass

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class ReplicaLimits:
    """None: no limit."""

    threads: int | None = None
    memory_bytes: int | None = None
    """Data memory (heap and anonymous maps): beyond it, MemoryError is raised inside the replica, which is not killed."""


def environment(limits: ReplicaLimits) -> dict[str, str]:
    """Environment variables for a replica's process, overriding this process's own."""
    threads = {} if limits.threads is None else dict.fromkeys(_THREAD_VARIABLES, str(limits.threads))
    # Idle BLAS threads would spin on cores that the other roles need; these settings make them sleep.
    return {**os.environ, "OPENBLAS_THREAD_TIMEOUT": "4", "TOKENIZERS_PARALLELISM": "false", **threads}


def limit_memory(limits: ReplicaLimits) -> None:
    """Applies the limits to this process."""
    if limits.memory_bytes is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (limits.memory_bytes, limits.memory_bytes))
