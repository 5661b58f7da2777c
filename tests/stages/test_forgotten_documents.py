"""Documents outlive the retention of their source: a new knowledge base finds all of them, and so does one that lost its store."""

import json
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pytest

from headrace.connectors.source import SourceOptions
from headrace.events import codec, topics
from headrace.events.row_batch import RowBatch
from headrace.events.schema import Column, RowSchema
from headrace.knowledge.query import AsOf
from headrace.log.registry import open_log
from headrace.log.topic_log import TopicLog
from headrace.stages.embed.options import EmbedOptions
from headrace.stages.index.knowledge_view import KnowledgeView
from headrace.stages.index.options import KnowledgeOptions
from headrace.stages.index.stage import IndexStage
from headrace.stages.ingest.encoding import keyed_by_document
from headrace.stages.ingest.options import IngestOptions
from headrace.stages.ingest.stage import IngestStage
from headrace.testing.clock import VirtualClock
from headrace.testing.word_embedder import WordEmbedder

RETENTION_MS = 60_000
EVENTS = topics.events("default", "docs")


class Shelf:
    """A file of documents, its ingest, and knowledge bases over it."""

    def __init__(self, folder: Path, log: TopicLog, clock: VirtualClock) -> None:
        self.folder, self.log, self.clock = folder, log, clock
        self._file = folder / "docs.jsonl"

    def write(self, *documents: tuple[str, str | None]) -> None:
        """Each a path and a body; without a body it is deleted."""
        with self._file.open("a", encoding="utf-8") as lines:
            for path, body in documents:
                change = {"path": path, "body": body, "operation": "upsert" if body else "delete"}
                lines.write(json.dumps(change) + "\n")
        schema = RowSchema(tuple(Column(name, "STRING") for name in ("path", "body", "operation")))
        given = {"path": self._file.name, "format": "json", "follow": True}
        source = SourceOptions("default", "docs", "file", given, schema=schema, base_dir=self.folder)
        options = IngestOptions(source, RETENTION_MS, documents_by=("path",))
        with closing(IngestStage(options, self.log, "test", self.clock)) as stage:
            while stage.step():
                pass

    def forget(self) -> None:
        """Retention does all that it may."""
        self.clock.advance(2 * RETENTION_MS / 1000)
        self.log.trim(self.clock.now_ms())

    def index(self, name: str) -> dict[str, str]:
        """What a knowledge base of that name holds once it has read everything: bodies by path."""
        options = KnowledgeOptions("default", name, "docs", EmbedOptions("default", "words"))
        with closing(IndexStage(options, self.log, "test", self.folder, self.clock, embedder=WordEmbedder())) as stage:
            while stage.step():
                pass
        now = AsOf(self.clock.now_ms())
        with closing(KnowledgeView(options, self.folder, self.clock, WordEmbedder())) as view:
            found = [view.store.document(one.document, now) for one in view.store.changed(AsOf(0), now.at_ms)]
        return {one.document: one.text for one in found if one is not None}

    def lose(self, name: str) -> None:
        """A knowledge base's store is gone."""
        for path in (self.folder / "knowledge").glob(f"default.{name}.*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def shelf(tmp_path: Path, clock: VirtualClock) -> Iterator[Shelf]:
    with closing(open_log(tmp_path, clock=clock)) as log:
        yield Shelf(tmp_path, log, clock)


@pytest.fixture
def kafka_shelf(tmp_path: Path, clock: VirtualClock, kafka_address: str) -> Iterator[Shelf]:
    options = {"kafka": kafka_address, "kafka_prefix": f"d{uuid4().hex[:8]}."}
    with closing(open_log(tmp_path, technology="kafka", options=options, clock=clock)) as log:
        yield Shelf(tmp_path, log, clock)


def a_new_and_a_lost_one_find_all(shelf: Shelf) -> None:
    bodies = {f"{number}.md": f"Document {number} says {number}." for number in range(100)}
    shelf.write(*((path, "A former text.") for path in bodies))
    assert len(shelf.index("first")) == 100
    shelf.write(*bodies.items())
    shelf.forget()
    shelf.write(("0.md", None), ("1.md", "Document 1 says more."))
    shelf.index("first")
    shelf.forget()
    expected = {**bodies, "1.md": "Document 1 says more."}
    del expected["0.md"]
    assert shelf.index("second") == expected
    shelf.lose("first")
    assert shelf.index("first") == expected


def test_a_new_knowledge_base_and_a_lost_one_find_every_document_however_old(shelf: Shelf) -> None:
    a_new_and_a_lost_one_find_all(shelf)
    held = [record.key for record in shelf.log.read(EVENTS, 0) if record.kind == codec.ROW]
    assert sorted(held) == sorted({f"{number}.md" for number in range(100)}), "of each document its newest record alone"


def test_they_do_on_kafka(kafka_shelf: Shelf) -> None:
    a_new_and_a_lost_one_find_all(kafka_shelf)


def test_a_document_that_was_deleted_and_written_again_is_there(shelf: Shelf) -> None:
    shelf.write(("a.md", "One."), ("b.md", "Two."))
    shelf.write(("a.md", None))
    shelf.index("first")
    shelf.forget()
    assert shelf.index("second") == {"b.md": "Two."}
    shelf.write(("a.md", "Three."))
    shelf.index("first")
    shelf.index("second")
    shelf.forget()
    assert shelf.index("third") == {"a.md": "Three.", "b.md": "Two."}


def test_a_knowledge_base_that_lost_its_store_is_behind_until_it_has_read_everything_again(shelf: Shelf) -> None:
    shelf.write(*((f"{number}.md", "A text.") for number in range(300)))
    shelf.index("first")
    end = shelf.log.topic(EVENTS).end_offset
    assert shelf.log.offset("index/default.first", EVENTS) == end
    shelf.lose("first")
    options = KnowledgeOptions("default", "first", "docs", EmbedOptions("default", "words"))
    with closing(IndexStage(options, shelf.log, "test", shelf.folder, shelf.clock, embedder=WordEmbedder())) as stage:
        stage.step()
        assert shelf.log.offset("index/default.first", EVENTS) < end


def test_where_knowledge_bases_disagree_on_what_a_document_is_each_finds_its_newest_record() -> None:
    schema = RowSchema((Column("path", "STRING"), Column("number", "BIGINT"), Column("body", "STRING")))
    table = pa.table({"path": ["a/b", "a", None, None], "number": [1, 2, 3, None], "body": ["w", "x", "y", "z"]})
    nothing, zeros = pa.array([""] * 4), pa.array([0] * 4)
    rows = RowBatch(table.cast(schema.to_arrow()), schema, nothing, nothing, zeros, zeros, nothing, zeros)
    assert keyed_by_document(rows, ("path",)).keys.to_pylist() == ["a/b", "a", "", ""]
    assert keyed_by_document(rows, ("number", "path")).keys.to_pylist() == ["1/a\\/b", "2/a", "3/", ""]
    assert keyed_by_document(rows, ("missing",)).keys.to_pylist() == [""] * 4
