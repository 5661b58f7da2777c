"""What goes wrong around an index: its folder goes away, its embedding service lies. It says so, loses nothing and goes on."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headrace.connectors.source import EventTime, SourceOptions
from headrace.control.stage_thread import ReopenedStage
from headrace.foundation.errors import UnavailableError
from headrace.knowledge.chunking import ChunkOptions
from headrace.log.registry import open_log
from headrace.log.topic_log import TopicLog
from headrace.stages.embed.options import EmbedOptions
from headrace.stages.index.knowledge_view import KnowledgeView
from headrace.stages.index.options import KnowledgeOptions
from headrace.stages.index.stage import IndexStage
from headrace.stages.ingest.options import IngestOptions
from headrace.stages.ingest.stage import IngestStage
from headrace.stages.stage import Condition, Stage, read_statuses
from headrace.testing.clock import VirtualClock
from headrace.testing.embedding_server import EmbeddingServer
from headrace.testing.resource_ids import connector_id, embedding_model_id, knowledge_base_id
from headrace.testing.word_embedder import WordEmbedder

Vectors = Any
Lie = Callable[[Vectors], Vectors]


class Service(EmbeddingServer):
    """Embeds as WordEmbedder does; `lie` changes what it answers."""

    def __init__(self) -> None:
        self.words = WordEmbedder(16)
        self.lie: Lie | None = None
        super().__init__(self._answer)

    def _answer(self, _: str, texts: Sequence[str]) -> Vectors:
        return self.words.embed(texts) if self.lie is None else self.lie(WordEmbedder(16).embed(texts))


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()
    yield service
    service.end()


class Policies:
    """A real folder, its ingest and its index, reopened after errors as a role's process does."""

    def __init__(self, folder: Path, embedding: EmbedOptions) -> None:
        self.clock, self.state = VirtualClock(), folder / "state"
        self.root = folder / "policies"
        self.root.mkdir()
        self.log: TopicLog = open_log(self.state, clock=self.clock)
        self.options = KnowledgeOptions(
            knowledge_base_id("policies"), connector_id("docs"), embedding, chunking=ChunkOptions(12, 0)
        )
        source = SourceOptions(
            connector_id("docs"), "documents", {"path": str(self.root)}, base_dir=folder, event_time=EventTime(None)
        )
        self.stages = [
            ReopenedStage(lambda: IngestStage(IngestOptions(source), self.log, "test", self.clock)),
            ReopenedStage(self._index),
        ]
        for stage in self.stages:
            stage.open()

    def _index(self) -> Stage:
        return IndexStage(self.options, self.log, "test", self.state, self.clock)

    def settle(self) -> list[str]:
        """Turns until nothing moves; the errors that may pass."""
        errors: list[str] = []
        quiet = 0
        while quiet < 4:
            worked = False
            for stage in self.stages:
                try:
                    worked |= stage.step()
                except UnavailableError as error:
                    errors.append(str(error))
            self.clock.advance(1)
            quiet = 0 if worked else quiet + 1
        return errors

    def found(self, question: str) -> set[str]:
        view = KnowledgeView(self.options, self.state, self.clock)
        try:
            return {hit.document for hit in view.search(question, limit=20, degrade=True).hits}
        finally:
            view.close()

    def condition(self, stage: str, kind: str) -> Condition:
        (status,) = [one for one in read_statuses(self.log) if one.stage == stage]
        return next(one for one in status.conditions if one.type == kind)

    def close(self) -> None:
        for stage in self.stages:
            stage.close()
        self.log.close()


@pytest.fixture
def policies(tmp_path: Path, service: Service) -> Iterator[Policies]:
    one = Policies(
        tmp_path, EmbedOptions(embedding_model_id("remote"), url=service.url, remote_model="words", dimension=16)
    )
    yield one
    one.close()


def test_a_folder_that_goes_away_keeps_its_documents_and_what_changed_meanwhile_is_seen(policies: Policies) -> None:
    for name in ("fees", "cards", "limits"):
        (policies.root / f"{name}.md").write_text(f"The matter of {name} is settled here.")
    policies.settle()
    assert policies.found("matter") == {"fees.md", "cards.md", "limits.md"}
    away = policies.root.with_name("elsewhere")
    policies.root.rename(away)
    assert policies.settle()
    assert policies.condition("ingest", "Ingesting").status == "False"
    assert policies.condition("index", "Indexing").status == "True"
    assert policies.found("matter") == {"fees.md", "cards.md", "limits.md"}
    (away / "cards.md").unlink()
    (away / "fees.md").write_text("The matter of fees was decided anew: seven euros.")
    away.rename(policies.root)
    policies.settle()
    assert policies.found("matter") == {"fees.md", "limits.md"}
    assert "fees.md" in policies.found("seven euros")


def nan(vectors: Vectors) -> Vectors:
    vectors[-1, 3] = np.nan
    return vectors


LIES: dict[str, tuple[Lie, str]] = {
    "one number is NaN": (nan, "not finite"),
    "an infinite number": (lambda vectors: vectors / np.float32(0), "not finite"),
    "shorter vectors": (lambda vectors: vectors[:, :15], "15 dimensions, not 16"),
    "longer vectors": (lambda vectors: np.hstack([vectors, vectors]), "32 dimensions, not 16"),
    "a vector too few": (lambda vectors: vectors[1:], "vectors for"),
    "zeros": (lambda vectors: vectors * 0, "zeros"),
}


@pytest.mark.filterwarnings("ignore:(divide by zero|invalid value):RuntimeWarning")
@pytest.mark.parametrize("lie", LIES)
def test_a_service_that_lies_is_said_and_nothing_is_lost_nor_kept_of_its_lies(
    lie: str, policies: Policies, service: Service
) -> None:
    (policies.root / "fees.md").write_text("The matter of fees is settled here.")
    policies.settle()
    service.lie, said = LIES[lie]
    (policies.root / "fees.md").write_text("The matter of fees was decided anew: seven euros.")
    (policies.root / "cards.md").write_text("The matter of cards is new.")
    assert policies.settle()
    indexing = policies.condition("index", "Indexing")
    assert (indexing.status, indexing.reason) == ("False", "Unavailable")
    assert said in indexing.message
    assert policies.found("matter settled") == {"fees.md"}
    service.lie = None
    assert policies.settle() == []
    assert policies.condition("index", "Indexing").status == "True"
    assert policies.found("matter") == {"fees.md", "cards.md"}
    embedded = [text for text in service.words.embedded if "matter of" in text]
    assert len(embedded) == len(set(embedded)) == 3
