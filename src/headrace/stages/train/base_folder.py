"""The base model folder: copied into the store of versions once, and read from there as long as the model lives.

So a folder that was changed, moved or removed never keeps a trainer from starting. What is declared is compared by content.
"""

import os
import shutil
from pathlib import Path

from headrace.foundation.errors import UnavailableError
from headrace.models.directory_store import DirectoryStore, digest_of

_LEFT_OUT = shutil.ignore_patterns(".*", "*.bin", "*.pt", "*.py")


def keep_base(versions: DirectoryStore, base: Path) -> str:
    """Copies the folder into the store: its digest. UnavailableError where there is no folder."""
    return versions.put(lambda path: _copy(base, path))


def declared_digest(base: Path) -> str | None:
    """The digest that `keep_base` would give; None where there is no folder."""
    return digest_of(_files(base)) if base.is_dir() else None


def _copy(base: Path, target: Path) -> None:
    if not base.is_dir():
        raise UnavailableError(
            f"there is no base model folder {base}", next_step="Restore it, or change the BaseModel's path."
        )
    shutil.copytree(base, target, dirs_exist_ok=True, ignore=_LEFT_OUT)


def _files(base: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for folder, folders, names in os.walk(base, followlinks=True):
        folders[:] = set(folders) - _LEFT_OUT(folder, folders)
        for name in set(names) - _LEFT_OUT(folder, names):
            path = Path(folder) / name
            found[path.relative_to(base).as_posix()] = path
    return found
