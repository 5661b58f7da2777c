"""Immutable, content-addressed directories: versions and checkpoints.

A directory is built under a temporary name, listed in a manifest (SHA-256 per file), fsynced and renamed to the manifest's digest: it
exists complete or not at all, and never changes. A commit that names its digest makes it count; one that no commit
names is garbage, which `collect` removes. One process writes a store; any number read it.
"""

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path

from headrace.foundation.errors import CorruptDataError, DiskFullError, NotFoundError
from headrace.foundation.failpoints import failpoint

MANIFEST = "headrace-manifest.json"
_ASIDE = ".building-"
_FULL = (errno.ENOSPC, errno.EDQUOT)


class DirectoryStore:
    """Directories under `root`, one per digest (64 hexadecimal digits)."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, build: Callable[[Path], None]) -> str:
        """Lets `build` fill an empty directory and stores it; returns its digest, the same for the same content.

        DiskFullError if there is no space; nothing half-written remains.
        """
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            aside = Path(tempfile.mkdtemp(prefix=_ASIDE, dir=self._root))
        except OSError as error:
            raise _explained(error, self._root) from error
        try:
            build(aside)
            digest = _write_manifest(aside)
            _sync_tree(aside)
            failpoint("store.put.before")
            self._move_in(aside, digest)
            failpoint("store.put.after")
            return digest
        except OSError as error:
            raise _explained(error, self._root) from error
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def _move_in(self, aside: Path, digest: str) -> None:
        target = self._root / digest
        if target.is_dir() and not self._is_whole(digest):
            shutil.rmtree(target)
        if not target.is_dir():
            aside.chmod(0o755)
            aside.rename(target)
        _sync(self._root)

    def _is_whole(self, digest: str) -> bool:
        try:
            self.verify(digest)
        except CorruptDataError:
            return False
        return True

    def path(self, digest: str) -> Path:
        """The directory's path; NotFoundError if it does not exist."""
        target = self._root / digest
        if not _is_digest(digest) or not target.is_dir():
            raise NotFoundError(f"{self._root} has no directory {digest}")
        return target

    def verify(self, digest: str) -> None:
        """Reads every file again; CorruptDataError names the file that is not what was written, or the missing directory."""
        target = self._root / digest
        manifest = target / MANIFEST
        if not manifest.is_file() or _sha256(manifest) != digest:
            raise CorruptDataError("the manifest was changed after it was written", where=str(manifest))
        expected: dict[str, str] = json.loads(manifest.read_text(encoding="utf-8"))
        for name, sha256 in expected.items():
            file = target / name
            if not file.is_file() or file.is_symlink() or _sha256(file) != sha256:
                raise CorruptDataError("the file was changed after it was written", where=str(file))
        added = {name for name, _ in _files(target)} - expected.keys()
        if added:
            raise CorruptDataError("the file was added after the directory was written", where=str(target / min(added)))

    def digests(self) -> tuple[str, ...]:
        """All digests, in order."""
        if not self._root.is_dir():
            return ()
        return tuple(sorted(entry.name for entry in self._root.iterdir() if _is_digest(entry.name)))

    def collect(self, keep: AbstractSet[str]) -> tuple[str, ...]:
        """Removes every directory but those in `keep`, and what a killed writer left half-built: the digests removed."""
        removed = tuple(digest for digest in self.digests() if digest not in keep)
        for digest in removed:
            # Renamed first: a reader never sees a directory that lacks some of its files.
            aside = self._root / f"{_ASIDE}{digest}"
            (self._root / digest).rename(aside)
        if self._root.is_dir():
            for entry in self._root.glob(f"{_ASIDE}*"):
                shutil.rmtree(entry)
        return removed


def _is_digest(name: str) -> bool:
    return len(name) == 64 and set(name) <= set("0123456789abcdef")


def _files(directory: Path) -> Iterator[tuple[str, Path]]:
    """Name within the directory and path of every file but the manifest, in order of name."""
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory).as_posix()
        if not path.is_dir() and name != MANIFEST:
            yield name, path


def digest_of(files: Mapping[str, Path]) -> str:
    """The digest that a directory with these files (by name) would have in a store."""
    return hashlib.sha256(_manifest(files).encode()).hexdigest()


def _write_manifest(directory: Path) -> str:
    text = _manifest(dict(_files(directory)))
    (directory / MANIFEST).write_text(text, encoding="utf-8")
    return hashlib.sha256(text.encode()).hexdigest()


def _manifest(files: Mapping[str, Path]) -> str:
    return json.dumps({name: _sha256(path) for name, path in files.items()}, indent=1, sort_keys=True) + "\n"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_tree(directory: Path) -> None:
    for path in [*directory.rglob("*"), directory]:
        _sync(path)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _explained(error: OSError, root: Path) -> Exception:
    if error.errno in _FULL:
        return DiskFullError("the disk is full", where=str(root), next_step="Free some space; the work then resumes.")
    return error
