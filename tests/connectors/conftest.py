"""A folder of documents under a source, for the tests of `documents`."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from headrace.connectors.documents.source import DocumentsSource, open_source
from headrace.connectors.source import SourceContext, SourceOptions
from headrace.events.dead_letter import DeadLetter
from headrace.events.schema import Column, RowSchema
from headrace.testing.clock import VirtualClock
from headrace.testing.resource_ids import connector_id

settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")

SCHEMA = RowSchema(
    (Column("product", "STRING"), Column("fee", "DECIMAL(6, 2)"), Column("effective_at", "TIMESTAMP_LTZ(3)"))
)


class Folder:
    """A folder, a source over it, and what was committed of it."""

    def __init__(self, root: Path, **options: Any) -> None:
        self.root = root / "policies"
        self.root.mkdir()
        self.clock = VirtualClock()
        self.options = SourceOptions(
            connector_id("docs"), "documents", {"path": "policies", **options}, schema=SCHEMA, base_dir=root
        )
        self.saved: dict[str, bytes] = {}
        self.position: bytes | None = None
        self.ids: list[str] = []
        self.letters: list[DeadLetter] = []
        self.duplicates = 0
        self.source = self.opened()

    def opened(self) -> DocumentsSource:
        source = open_source(self.options, SourceContext(None, self.clock, lambda: dict(self.saved)))
        source.open(self.position)
        return source

    def restart(self) -> None:
        self.source.close()
        self.source = self.opened()

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def new(self, max_rows: int = 1000) -> list[dict[str, Any]]:
        """All that is new, committed; dead letters are kept aside."""
        rows: list[dict[str, Any]] = []
        self.letters = []
        while True:
            batch = self.source.poll(max_rows, 2.0)
            if batch.rows is not None:
                rows += batch.rows.table.to_pylist()
                self.ids += batch.rows.ids.to_pylist()
            self.letters += [letter for _, letter in batch.dead]
            self.duplicates += batch.duplicates
            self.position = batch.position
            for key, value in batch.state.items():
                if value is None:
                    del self.saved[key]
                else:
                    self.saved[key] = value
            if batch.waiting or batch.end:
                return rows

    def said(self) -> list[tuple[str, str]]:
        """(operation, path) of what is new."""
        return [(row["operation"], row["path"]) for row in self.new()]

    def codes(self) -> list[str]:
        """Of the letters that are new; nothing else is."""
        assert self.new() == []
        return [letter.code for letter in self.letters]


@pytest.fixture
def make_folder(tmp_path: Path) -> Iterator[Callable[..., Folder]]:
    """Folders by the source's options; each row they ever give has its own id."""
    made: list[Folder] = []

    def make(**options: Any) -> Folder:
        made.append(Folder(tmp_path, **options))
        return made[-1]

    yield make
    for folder in made:
        folder.source.close()
        assert len(set(folder.ids)) == len(folder.ids)


@pytest.fixture
def folder(make_folder: Callable[..., Folder]) -> Folder:
    return make_folder()
