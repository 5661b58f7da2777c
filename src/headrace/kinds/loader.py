"""Files, folders, globs and standard input → documents."""

import glob
import sys
from collections.abc import Sequence
from pathlib import Path

from headrace.kinds.document import Document
from headrace.kinds.mistake import Mistake
from headrace.kinds.yaml_tree import MAX_BYTES, parse

STDIN = "-"
SUFFIXES = (".yaml", ".yml")
"""Of the files that a folder is searched for; a file that is named itself may end in anything, JSON included."""


def load_documents(paths: Sequence[str | Path]) -> tuple[list[Document], list[Mistake]]:
    """Every document of every file, in the order given; of a folder its own files, in order of name, as kubectl does."""
    documents: list[Document] = []
    mistakes: list[Mistake] = []
    seen: set[Path] = set()
    for path in paths:
        files = [STDIN] if str(path) == STDIN else _expand(str(path))
        if not files:
            mistakes.append(_missing(str(path)))
        for file in files:
            identity = Path(file).resolve()
            if file != STDIN and identity in seen:
                continue
            seen.add(identity)
            found, wrong = load_file(file)
            documents += found
            mistakes += wrong
    return documents, mistakes


def load_file(file: str) -> tuple[list[Document], list[Mistake]]:
    """The documents of one file; `-` reads standard input, whose relative paths start in the working directory."""
    try:
        data = sys.stdin.buffer.read(MAX_BYTES + 1) if file == STDIN else _read(Path(file))
    except OSError as error:
        return [], [Mistake(file, 0, 0, "", f"cannot be read: {error.strerror or error}")]
    name = "<stdin>" if file == STDIN else file
    if len(data) > MAX_BYTES:
        return [], [
            Mistake(name, 0, 0, "", f"larger than {MAX_BYTES // 2**20} MiB", hint="Split it into several files.")
        ]
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        return [], [Mistake(name, line, 1, "", f"not UTF-8 at byte {error.start}", hint="Save it as UTF-8.")]
    return parse(text, name, "." if file == STDIN else str(Path(file).parent))


def _read(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(MAX_BYTES + 1)


def _expand(path: str) -> list[str]:
    if Path(path).is_dir():
        files = (file for file in Path(path).iterdir() if file.suffix in SUFFIXES and not file.name.startswith("."))
        return sorted(str(file) for file in files if file.is_file())
    if Path(path).exists():
        return [path]
    return sorted(name for name in glob.glob(path, recursive=True) if Path(name).is_file())  # noqa: PTH207 - a pattern may be absolute


def _missing(path: str) -> Mistake:
    if Path(path).is_dir():
        return Mistake(
            path,
            0,
            0,
            "",
            "holds no YAML",
            hint="To include subfolders, pass a pattern such as 'FOLDER/**/*.yaml'.",
        )
    return Mistake(path, 0, 0, "", "no such file", hint="Pass a file, a folder, a pattern, or - for standard input.")
