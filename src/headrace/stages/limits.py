"""What a process may use."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ResourceLimits:
    """What a role's process may use; None: no limit."""

    cpu: float | None = None
    """cores: threads of the numeric libraries, and CPU affinity where it is whole"""
    memory_bytes: int | None = None
