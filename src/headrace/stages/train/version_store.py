"""Where versions and checkpoints lie in a state directory."""

from pathlib import Path

from headrace.foundation.resource_id import ResourceId
from headrace.models.directory_store import DirectoryStore
from headrace.promotion.registry import Registry


def versions(state: Path, finetuner: ResourceId) -> DirectoryStore:
    """A finetuner's immutable model versions, by content."""
    return DirectoryStore(versions_folder(state, finetuner))


def versions_folder(state: Path, finetuner: ResourceId) -> Path:
    """The folder in which a version's digest names its directory."""
    return state / "versions" / finetuner.path_name


def checkpoints(state: Path, finetuner: ResourceId) -> DirectoryStore:
    """A trainer's checkpoints, by content."""
    return DirectoryStore(state / "checkpoints" / finetuner.path_name)


def version_path(state: Path, finetuner: ResourceId, registry: Registry, name: str) -> Path:
    """The directory of a version. NotFoundError names what is kept."""
    return versions(state, finetuner).path(registry.version(name).digest)
