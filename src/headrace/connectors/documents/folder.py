"""The current contents of a folder, and whether missing files were deleted or are merely unreachable."""

import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

SUFFIXES = {
    ".md": "markdown", ".markdown": "markdown", ".txt": "plain", ".text": "plain", ".html": "html", ".htm": "html",
    ".pdf": "pdf", ".jsonl": "lines", ".ndjson": "lines",
}  # fmt: skip
_TEMPORARY = re.compile(r"\..*|.*~|#.*#|~\$.*|.*\.(sw[a-z]|tmp|part|partial|crdownload|bak)", re.IGNORECASE)


class Stamp(msgspec.Struct, frozen=True, array_like=True):
    """Equal stamps: the file is unchanged."""

    size: int
    modified_ns: int
    changed_ns: int
    inode: int

    @staticmethod
    def of(status: os.stat_result) -> "Stamp":
        return Stamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


class FolderMark(msgspec.Struct, frozen=True, array_like=True):
    """Identifies a folder."""

    device: int
    inode: int
    mount: bool = False
    """On another file system than its parent folder."""


@dataclass(frozen=True, slots=True)
class SeenFile:
    """A document file."""

    path: Path
    kind: str
    """A value of `SUFFIXES`; nameless: its name is not UTF-8."""
    stamp: Stamp


@dataclass(slots=True)
class Look:
    """One scan of the folder. Names are relative to it, with slashes; the folder itself is ''."""

    files: dict[str, SeenFile] = field(default_factory=dict[str, SeenFile])
    folders: dict[str, FolderMark] = field(default_factory=dict[str, FolderMark])
    empty: set[str] = field(default_factory=set[str])
    """Folders without visible entries."""
    unreadable: dict[str, str] = field(default_factory=dict[str, str])
    """Files and folders that may not be read, and why."""


def look_through(root: Path, glob: str) -> Look:
    """Scans the folder. OSError if the folder itself cannot be read."""
    seen = Look()
    wanted = _pattern(glob)
    inside = os.path.realpath(root)
    waiting: list[tuple[str, Path, int]] = [("", root, root.stat().st_dev)]
    while waiting:
        name, path, above = waiting.pop()
        try:
            status = path.stat()
            entries = sorted(os.scandir(path), key=lambda entry: entry.name)
        except OSError as error:
            if not name:
                raise
            seen.unreadable[name] = error.strerror or str(error)
            continue
        seen.folders[name] = FolderMark(status.st_dev, status.st_ino, status.st_dev != above)
        shown = [entry for entry in entries if not _TEMPORARY.fullmatch(entry.name)]
        if not shown:
            seen.empty.add(name)
        waiting += _enter(seen, shown, name, inside, wanted, status.st_dev)
    return seen


def _enter(
    seen: Look, entries: list[os.DirEntry[str]], above: str, inside: str, wanted: re.Pattern[str], device: int
) -> list[tuple[str, Path, int]]:
    """Records a folder's files; returns its subfolders."""
    folders: list[tuple[str, Path, int]] = []
    for entry in entries:
        shown = entry.name.encode(errors="surrogateescape").decode(errors="backslashreplace")
        name = f"{above}/{shown}" if above else shown
        try:
            if entry.is_symlink() and not _may_follow(entry, inside):
                continue
            if entry.is_dir():
                folders.append((name, Path(entry.path), device))
                continue
            kind = SUFFIXES.get(os.path.splitext(entry.name)[1].lower())  # noqa: PTH122 - half a million names a minute
            if kind is None or not wanted.fullmatch(name):
                continue
            status = entry.stat()
            if stat.S_ISREG(status.st_mode):
                seen.files[name] = SeenFile(
                    Path(entry.path), kind if shown == entry.name else "nameless", Stamp.of(status)
                )
        except FileNotFoundError:
            continue  # it disappeared during the scan
        except OSError as error:
            seen.unreadable[name] = error.strerror or str(error)
    return folders


def _may_follow(entry: os.DirEntry[str], inside: str) -> bool:
    """A link to a file inside the folder; or to one of its hidden folders, which no other name would reach."""
    target = os.path.realpath(entry.path)
    if os.path.commonpath([target, inside]) != inside:
        return False
    if not entry.is_dir():
        return True
    parts = Path(os.path.relpath(target, inside)).parts
    loops = os.path.commonpath([target, os.path.realpath(Path(entry.path).parent)]) == target
    return not loops and any(_TEMPORARY.fullmatch(part) for part in parts if part != ".")


def out_of_reach(look: Look, known: Mapping[str, FolderMark]) -> dict[str, str]:
    """Files and folders whose documents are neither present nor deleted, and why. `known`: folders that had documents."""
    held = dict(look.unreadable)
    for name, mark in known.items():
        now = look.folders.get(name)
        if now is None:
            if mark.mount and name not in held:
                held[name] = "its mount is gone"
        elif name in look.empty and (now.device, now.inode) != (mark.device, mark.inode):
            held[name] = "it is an empty, different folder: something was unmounted or replaced"
    return held


def is_held(name: str, held: Mapping[str, str]) -> bool:
    """Whether a file, or a folder above it, is unreachable."""
    return any(part in held for part in (name, *folders_above(name)))


def folders_above(name: str) -> Iterator[str]:
    """A file's parent folders, innermost first, ending with the root ('')."""
    while "/" in name:
        name = name.rpartition("/")[0]
        yield name
    yield ""


def _pattern(glob: str) -> re.Pattern[str]:
    """`**/` matches any number of folders; `*` and `?` match within a name."""
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]]+\])", glob)
    meanings = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    texts = [meanings.get(part) or _class(part) for part in parts]
    return re.compile("".join(texts), re.DOTALL)


def _class(part: str) -> str:
    if len(part) > 2 and part[0] == "[" and part[-1] == "]":
        inner = part[1:-1].replace("\\", "\\\\")
        return f"[^{inner[1:]}]" if inner[0] == "!" else f"[{inner}]"
    return re.escape(part)
