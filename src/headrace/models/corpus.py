"""Reads the sample texts that give a new model its vocabulary."""

import csv
import gzip
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from headrace.foundation.errors import NotFoundError


def read_texts(paths: Iterable[Path]) -> Iterator[str]:
    """Every text in the files: string values from JSON lines and CSV, lines from anything else; `.gz` is decompressed."""
    for path in paths:
        if not path.is_file():
            raise NotFoundError(f"{path} is not a file", next_step="give a text, JSON-lines or CSV file with --text")
        yield from _read(path)


def _read(path: Path) -> Iterator[str]:
    name = path.name.removesuffix(".gz")
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
        if name.endswith((".jsonl", ".ndjson")):
            for line in file:
                yield from _strings(json.loads(line))
        elif name.endswith(".csv"):
            for row in csv.DictReader(file):
                yield from (value for value in row.values() if value)
        else:
            yield from file


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for inner in value.values() if isinstance(value, dict) else value:  # pyright: ignore[reportUnknownVariableType]
            yield from _strings(inner)
