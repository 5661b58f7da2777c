"""What graphics processors this machine has, without loading a library."""

from collections.abc import Iterator
from pathlib import Path

from headrace.foundation.resource_id import ResourceId
from headrace.stages.topology import Note

_DEVICES = Path("/dev")


def gpu_count(devices: Path = _DEVICES) -> int:
    """How many NVIDIA devices the kernel shows."""
    return len(list(devices.glob("nvidia[0-9]*")))


def gpu_missing(of: ResourceId, wanted: int, there: int) -> Iterator[Note]:
    """Says that the work is done on the CPU where a resource wants more GPUs than there are."""
    if wanted > there:
        found = "none" if there == 0 else f"only {there}"
        yield Note(of, "GpuMissing", f"{wanted} gpu requested, {found} on this machine: the CPU is used instead")
