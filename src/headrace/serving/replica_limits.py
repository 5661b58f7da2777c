"""What a replica may use, and how it dies: set before numpy or torch is imported."""

import ctypes
import os
import resource
import signal
import sys
from dataclasses import dataclass

_PR_SET_PDEATHSIG = 1
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class ReplicaLimits:
    """None: no limit."""

    threads: int | None = None
    memory_bytes: int | None = None
    """Of data (heap and anonymous maps): more raises MemoryError inside the replica, it does not kill it."""


def environment(limits: ReplicaLimits) -> dict[str, str]:
    """The variables that a replica's process starts with, over this process's own."""
    threads = {} if limits.threads is None else dict.fromkeys(_THREAD_VARIABLES, str(limits.threads))
    # Idle BLAS threads would spin for a while on the core that the other roles need; they sleep instead.
    return {**os.environ, "OPENBLAS_THREAD_TIMEOUT": "4", "TOKENIZERS_PARALLELISM": "false", **threads}


def limit_memory(limits: ReplicaLimits) -> None:
    """Bounds this process."""
    if limits.memory_bytes is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (limits.memory_bytes, limits.memory_bytes))


def die_with_parent(parent: int) -> None:
    """Asks the kernel for SIGKILL when the parent ends, where the kernel can; ends at once where it has ended already."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
