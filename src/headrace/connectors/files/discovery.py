"""Which files a path matches, and their formats."""

import glob
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from headrace.connectors.files.options import Options
from headrace.connectors.source import SourceOptions
from headrace.foundation.errors import InvalidDeclarationError, NotFoundError, UnavailableError

Format = Literal["json", "csv", "parquet"]
_SUFFIXES: dict[str, Format] = {
    ".json": "json", ".jsonl": "json", ".ndjson": "json", ".csv": "csv", ".parquet": "parquet",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file to read."""

    name: str
    """Relative to the scanned folder; part of ids, so moving the folder changes none."""
    path: Path
    format: Format
    gzip: bool


class Discovery:
    """Resolves a source's path, repeatedly if it is followed."""

    def __init__(self, source: SourceOptions, options: Options) -> None:
        self._where = f"StreamConnector/{source.id.name}: spec.file"
        self._options = options
        self._pattern = str(source.base_dir / options.path)
        self.single = not glob.has_magic(self._pattern) and not Path(self._pattern).is_dir()
        """The path names one file."""

    def files(self, *, read_before: bool = False) -> list[FoundFile]:
        """Sorted by name. NotFoundError if a path without wildcards does not exist or a bounded glob matches nothing;
        UnavailableError if it existed before (`read_before`); OSError if the system denies access.
        """
        if self.single:
            return [self._single(read_before=read_before)]
        folder = self._folder()
        pattern = str(Path(self._pattern).relative_to(folder))
        paths = folder.iterdir() if pattern == "." else folder.glob(pattern)
        found = [self._found(path, folder) for path in paths if path.is_file()]
        files = sorted((file for file in found if file is not None), key=lambda file: file.name)
        if not files and not self._options.follow:
            raise NotFoundError(f"no file matches {self._options.path}", where=f"{self._where}.path")
        return files

    def _single(self, *, read_before: bool) -> FoundFile:
        path = Path(self._pattern)
        if not path.is_file() and read_before:
            raise UnavailableError(
                f"{self._options.path} no longer exists", where=f"{self._where}.path",
                next_step="put it back; reading resumes where it stopped",
            )  # fmt: skip
        if not path.is_file():
            raise NotFoundError(
                f"no file matches {self._options.path}", where=f"{self._where}.path",
                next_step="give the path of a file, a folder or a glob, relative to the YAML file",
            )  # fmt: skip
        found = self._found(path, path.parent)
        if found is None:
            raise InvalidDeclarationError(
                f"the suffix of {path.name} does not determine the format", where=f"{self._where}.format",
                next_step="set format to json, csv or parquet",
            )  # fmt: skip
        return found

    def _folder(self) -> Path:
        """The root of relative names: the folder itself, or the part of a glob before the first wildcard."""
        path = Path(self._pattern)
        if path.is_dir():
            return path
        while glob.has_magic(str(path)):
            path = path.parent
        return path

    def _found(self, path: Path, folder: Path) -> FoundFile | None:
        """None: hidden (being written), or not a readable format."""
        if path.name.startswith((".", "_")) and not self.single:
            return None
        gzip = path.suffix == ".gz"
        suffix = Path(path.stem).suffix if gzip else path.suffix
        kind = _SUFFIXES.get(suffix.lower()) if self._options.format == "auto" else self._options.format
        if kind is None:
            return None
        return FoundFile(path.relative_to(folder).as_posix(), path, kind, gzip and kind != "parquet")
