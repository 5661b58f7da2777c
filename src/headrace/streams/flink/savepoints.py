"""Whether a savepoint is still there, looked at before Flink is asked.

Flink 2.3 with high availability keeps a job that could not be initialised as a result without an application; every JobManager that
is started afterwards ends on it ("Application ID is missing in the recovered job result"). So such a job is better not submitted.
"""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from headrace.foundation.errors import NotFoundError
from headrace.streams.flink.job_manager import JobManager

_LOCAL_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})
_FOLDERS = ("execution.checkpointing.dir", "execution.checkpointing.savepoint-dir", "high-availability.storageDir")


def check_savepoint(cluster: JobManager, place: str) -> None:
    """NotFoundError: it lies in a file system that is seen from here, and is not there. Elsewhere Flink says it."""
    path = _path(place)
    if path is not None and _same_files(cluster) and not (path.is_file() or (path / "_metadata").is_file()):
        raise savepoint_gone(place)


def savepoint_gone(place: str, more: str = "") -> NotFoundError:
    """The error for a savepoint that is not there."""
    return NotFoundError(
        f"the savepoint {place} is gone{more}",
        next_step="restore it, or start a new job that reads its inputs from the beginning",
    )


def _same_files(cluster: JobManager) -> bool:
    """On this machine, or with the folder of one of its settings mounted here."""
    if urlsplit(cluster.address).hostname in _LOCAL_HOSTS:
        return True
    told = cluster.configuration()
    return any((path := _path(told.get(key, ""))) is not None and path.is_dir() for key in _FOLDERS)


def _path(place: str) -> Path | None:
    """Of `file:/a`, `file:///a` and `/a`; None: another kind of place."""
    parts = urlsplit(place)
    return Path(unquote(parts.path)) if parts.scheme in {"", "file"} and parts.path.startswith("/") else None
