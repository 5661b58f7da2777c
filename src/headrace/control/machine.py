"""What this machine has and lacks, for `headrace doctor`."""

import importlib.metadata
import os
import shutil
import sqlite3
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

_NEEDED = ("duckdb", "pyarrow", "torch", "transformers", "fastapi", "uvicorn", "sqlglot", "msgspec")
_GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Check:
    """One check and its result."""

    what: str
    ok: bool
    found: str
    needed: bool = True


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def gpu_devices() -> list[str]:
    """NVIDIA device files that this machine shows."""
    return sorted(str(path) for path in Path("/dev").glob("nvidia[0-9]*"))


def examine(folder: Path) -> list[Check]:
    """Every check, in the order in which people read them."""
    free = shutil.disk_usage(folder).free
    memory = psutil.virtual_memory()
    checks = [
        Check("python", sys.version_info >= (3, 11), sys.version.split()[0]),
        Check("sqlite", sqlite3.sqlite_version_info >= (3, 35), sqlite3.sqlite_version),
        Check("cores", True, str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())),
        Check(
            "memory",
            memory.available > 2 * _GIB,
            f"{memory.available / _GIB:.1f} of {memory.total / _GIB:.1f} GiB free",
        ),
        Check("disk", free > 2 * _GIB, f"{free / _GIB:.0f} GiB free in {folder}"),
        Check(
            "gpu",
            bool(gpu_devices()),
            ", ".join(gpu_devices()) or "none: training and serving run on the CPU",
            needed=False,
        ),
    ]
    for package in _NEEDED:
        version = _version(package)
        checks.append(Check(package, version is not None, version or "not installed; run `make setup`"))
    return checks
