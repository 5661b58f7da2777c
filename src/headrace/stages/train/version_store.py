"""Where versions and checkpoints lie in a state directory."""

from pathlib import Path

from headrace.models.directory_store import DirectoryStore
from headrace.promotion.registry import Registry


def versions(state: Path, namespace: str, finetuner: str) -> DirectoryStore:
    """A finetuner's immutable model versions, by content."""
    return DirectoryStore(versions_folder(state, namespace, finetuner))


def versions_folder(state: Path, namespace: str, finetuner: str) -> Path:
    """The folder in which a version's digest names its directory."""
    return state / "versions" / f"{namespace}.{finetuner}"


def checkpoints(state: Path, namespace: str, finetuner: str) -> DirectoryStore:
    """A trainer's checkpoints, by content."""
    return DirectoryStore(state / "checkpoints" / f"{namespace}.{finetuner}")


def version_path(state: Path, namespace: str, finetuner: str, registry: Registry, name: str) -> Path:
    """The directory of a version. NotFoundError names what is kept."""
    return versions(state, namespace, finetuner).path(registry.version(name).digest)
