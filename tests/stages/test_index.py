"""index and prompt together: documents become searchable, rows see them as they were."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import msgspec
import pytest

from headrace.events import codec, topics
from headrace.events.control import Control
from headrace.events.dead_letter import DeadLetter
from headrace.events.prompt import Prompt
from headrace.foundation.errors import FencedError, UnavailableError
from headrace.knowledge.chunking import ChunkOptions
from headrace.knowledge.query import AsOf
from headrace.log.record import NewRecord
from headrace.log.registry import open_log
from headrace.log.topic_log import Append, Commit, TopicLog, TopicSpec
from headrace.stages.embed.options import EmbedOptions
from headrace.stages.index.knowledge_view import KnowledgeView
from headrace.stages.index.options import KnowledgeOptions
from headrace.stages.index.spec import index_spec
from headrace.stages.index.stage import IndexStage, read_index_state
from headrace.stages.ingest.stage import IngestState, state_key
from headrace.stages.prompt.options import PromptOptions, PromptTemplate
from headrace.stages.prompt.stage import PromptStage
from headrace.stages.stage import read_statuses
from headrace.testing.clock import VirtualClock
from headrace.testing.resource_ids import connector_id, embedding_model_id, finetuner_id, knowledge_base_id
from headrace.testing.word_embedder import WordEmbedder

START = 1_700_000_000_000
OPTIONS = KnowledgeOptions(
    knowledge_base_id("policies"),
    connector_id("docs"),
    EmbedOptions(embedding_model_id("words")),
    mode="hybrid",
    limit=3,
)


class Desk:
    """A log with documents and rows, an index and a prompt stage over it, stepped by hand."""

    def __init__(self, folder: Path, options: KnowledgeOptions = OPTIONS) -> None:
        self.folder, self.options = folder, options
        self.clock = VirtualClock(START)
        self.log: TopicLog = open_log(folder, clock=self.clock)
        self.embedder = WordEmbedder()
        self.rows = topics.rows(finetuner_id("desk"))
        for topic in (topics.events(connector_id("docs")), self.rows):
            self.log.ensure_topic(TopicSpec(topic))
        self.caught_up()
        self._number = 0

    def caught_up(self) -> None:
        """As ingest says once it has read everything there was."""
        state = IngestState(b"", [], 0, 0, ended=False, caught_up_for="test")
        self.log.commit(Commit(state={state_key(connector_id("docs")): msgspec.msgpack.encode(state)}))

    def document(self, path: str, body: str | None, **columns: object) -> None:
        """A change of a document, seen now; without a body it is deleted."""
        row = {"path": path, **({"body": body} if body is not None else {"operation": "delete"}), **columns}
        self._append(topics.events(connector_id("docs")), row)

    def row(self, text: str) -> None:
        self._append(self.rows, {"text": text})

    def _append(self, topic: str, row: dict[str, object]) -> None:
        self.clock.advance(0.01)
        self._number += 1
        now = self.clock.now_ms()
        record = NewRecord(f"{topic}:{self._number}", codec.ROW, json.dumps(row).encode(), now, ingested_at=now)
        self.log.commit(Commit([Append(topic, [record])]))

    def index(self, **changes: object) -> IndexStage:
        return IndexStage(
            replace(self.options, **changes), self.log, "test", self.folder, self.clock, embedder=self.embedder
        )

    def prompt(self, **changes: object) -> PromptStage:
        options = PromptOptions(
            finetuner_id("desk"), (PromptTemplate("{knowledge} {text}"),), knowledge=self.options, knowledge_limit=1
        )
        return PromptStage(
            replace(options, **changes), self.log, "test", self.clock, state=self.folder, embedder=self.embedder
        )

    def view(self) -> KnowledgeView:
        return KnowledgeView(self.options, self.folder, self.clock, self.embedder)

    def prompts(self) -> list[Prompt | Control]:
        records = self.log.read(topics.prompts(finetuner_id("desk")), 0)
        return [codec.decode(one, Control if one.kind == codec.CONTROL else Prompt) for one in records]


def drain(stage: IndexStage | PromptStage) -> None:
    while stage.step():
        pass


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.log.close()


def found(desk: Desk, question: str, **wishes: object) -> list[tuple[str, str]]:
    view = desk.view()
    try:
        return [(hit.document, hit.text) for hit in view.search(question, **wishes).hits]
    finally:
        view.close()


def test_a_document_is_found_edited_and_gone(desk: Desk) -> None:
    index = desk.index()
    desk.document("fees.md", "A transfer abroad costs 4 EUR.")
    desk.document("cards.md", "A new card comes within five days.")
    drain(index)
    assert found(desk, "How much is a transfer abroad?")[0] == ("fees.md", "A transfer abroad costs 4 EUR.")
    desk.document("fees.md", "A transfer abroad costs 7 EUR.")
    drain(index)
    assert found(desk, "How much is a transfer abroad?")[0] == ("fees.md", "A transfer abroad costs 7 EUR.")
    desk.document("fees.md", None)
    drain(index)
    assert [document for document, _ in found(desk, "How much is a transfer abroad?")] == ["cards.md"]


def test_only_what_is_new_is_embedded_and_a_restart_embeds_nothing(desk: Desk) -> None:
    index = desk.index(chunking=ChunkOptions(12, 0))
    first, second = "# One\n\n" + "alpha beta gamma delta epsilon", "# Two\n\n" + "zeta eta theta iota kappa"
    desk.document("a.md", f"{first}\n\n{second}")
    drain(index)
    before = len(desk.embedder.embedded)
    desk.document("a.md", f"{first}\n\n{second} changed")
    drain(index)
    assert len(desk.embedder.embedded) == before + 1
    index.close()
    again = desk.index(chunking=ChunkOptions(12, 0))
    drain(again)
    desk.document("moved.md", f"{first}\n\n{second}")
    drain(again)
    assert len(desk.embedder.embedded) == before + 1


def test_a_row_sees_the_documents_of_its_moment_however_late_it_is_asked(desk: Desk) -> None:
    index = desk.index()
    desk.document("fees.md", "A transfer abroad costs 4 EUR.")
    desk.row("How much is a transfer abroad?")
    desk.document("fees.md", "A transfer abroad costs 7 EUR.")
    desk.row("How much is a transfer abroad?")
    desk.document("fees.md", None)
    desk.row("How much is a transfer abroad?")
    prompt = desk.prompt()
    floor = desk.clock.now_ms()
    assert not prompt.step(), "rows wait for the index"
    drain(index)
    # The first complete reading comes after all three rows: every one of them is answered as of that reading.
    drain(prompt)
    assert [one.passages for one in desk.prompts() if isinstance(one, Prompt)] == [[], [], []]
    assert floor <= desk.clock.now_ms()


def test_rows_after_the_first_reading_are_exact_and_signs_stand_between_them(desk: Desk) -> None:
    index, prompt = desk.index(), desk.prompt()
    desk.document("fees.md", "A transfer abroad costs 4 EUR.")
    drain(index)
    desk.row("How much is a transfer abroad?")
    drain(prompt)
    desk.row("Is a transfer abroad dear?")
    desk.document("fees.md", "A transfer abroad costs 7 EUR.")
    desk.row("How much is a transfer abroad?")
    desk.document("fees.md", None)
    desk.row("How much is a transfer abroad?")
    drain(index)
    drain(prompt)
    told = [
        [passage.text for passage in one.passages]
        if isinstance(one, Prompt)
        else [(ref.document, ref.deleted) for ref in one.changes]
        for one in desk.prompts()
    ]
    assert told == [
        [],  # the first sign names the generation alone: nothing was learned before
        ["A transfer abroad costs 4 EUR."],
        ["A transfer abroad costs 4 EUR."],
        [("fees.md", False)],
        ["A transfer abroad costs 7 EUR."],
        [("fees.md", True)],
        [],
    ]


def test_history_is_asked_by_the_rows_own_time(desk: Desk) -> None:
    desk.options = replace(OPTIONS, columns=replace(OPTIONS.columns, valid_from="since"))
    index, prompt = desk.index(), desk.prompt(timeline="event")
    for month, fee in ((1, 4), (2, 5), (3, 6)):
        desk.document("fees.md", f"A transfer abroad costs {fee} EUR.", since=f"2020-0{month}-01T00:00:00Z")
    drain(index)
    for day in ("2020-01-15", "2020-02-15", "2020-03-15", "2019-12-31"):
        moment = round(datetime.fromisoformat(f"{day}T00:00:00+00:00").timestamp() * 1000)
        record = NewRecord(day, codec.ROW, b'{"text": "transfer abroad"}', moment, ingested_at=desk.clock.now_ms())
        desk.log.commit(Commit([Append(desk.rows, [record])]))
    drain(prompt)
    passages = [[p.text for p in one.passages] for one in desk.prompts() if isinstance(one, Prompt)]
    assert passages == [[f"A transfer abroad costs {fee} EUR."] for fee in (4, 5, 6)] + [[]]


def test_what_is_no_document_is_a_dead_letter_once_and_the_rest_goes_on(desk: Desk) -> None:
    index = desk.index()
    desk.document("", "no id")
    desk.document("a.md", "   ")
    desk.document("b.md", "text", operation="explode")
    desk.document("good.md", "A good document.")
    drain(index)
    letters = [
        codec.decode(one, DeadLetter)
        for one in desk.log.read(topics.stage_dead(knowledge_base_id("policies"), "index"), 0)
    ]
    assert [one.code for one in letters] == ["missing_id", "missing_text", "unknown_operation"]
    assert [document for document, _ in found(desk, "good")] == ["good.md"]


def test_an_embedder_that_is_away_is_said_and_nothing_is_lost(desk: Desk) -> None:
    index = desk.index()
    drain(index)
    desk.document("a.md", "An answer to everything.")
    desk.embedder.away = True
    with pytest.raises(UnavailableError):
        index.step()
    (status,) = [one for one in read_statuses(desk.log) if one.stage == "index"]
    assert ("Indexing", "False", "Unavailable") in [(c.type, c.status, c.reason) for c in status.conditions]
    assert found(desk, "everything", degrade=True) == []
    desk.embedder.away = False
    drain(index)
    assert [document for document, _ in found(desk, "everything")] == ["a.md"]


def test_another_chunk_size_is_built_beside_and_switched_when_it_is_complete(desk: Desk) -> None:
    index = desk.index()
    for number in range(30):
        desk.document(f"{number}.md", f"Document {number} speaks of matter{number} and of nothing else at all.")
    drain(index)
    index.close()
    before = desk.view()
    old = before.generation
    before.close()
    index = desk.index(chunking=ChunkOptions(6, 0))
    assert index.step()
    desk.document("late.md", "A late document comes while the other generation is built.")
    drain(index)
    view = desk.view()
    states = {one.id: one.state for one in view.store.generations()}
    assert states[old] == "kept"
    assert view.generation != old
    assert view.search("matter17").hits[0].document == "17.md"
    assert view.search("late document", generation=old).hits[0].document == "late.md"
    now = AsOf(desk.clock.now_ms())
    assert view.store.counts(old, now).documents == view.store.counts(view.generation, now).documents == 31
    view.close()
    said = read_index_state(desk.log, desk.options)
    assert said is not None
    assert said.building == ""


def test_another_model_answers_for_its_own_generation_alone(desk: Desk) -> None:
    index = desk.index()
    desk.document("a.md", "An apple a day.")
    drain(index)
    index.close()
    desk.embedder = WordEmbedder(32, name="other")
    index = desk.index()
    drain(
        index
    )  # the former model is not on this machine: its generation cannot be kept fresh, but answers till the switch
    assert found(desk, "apple")[0][0] == "a.md"


def test_the_canary_measures_and_nobody_sees_it(desk: Desk) -> None:
    index = desk.index()
    desk.document("a.md", "canary amber")
    drain(index)
    for _ in range(6):
        desk.clock.advance(10)
        index.step()
        drain(index)
    said = read_index_state(desk.log, desk.options)
    assert said is not None
    (status,) = [one for one in read_statuses(desk.log) if one.stage == "index"]
    assert int(status.progress["measured"]) > 4
    assert status.progress["documents"] == 1
    assert ("Fresh", "True") in [(c.type, c.status) for c in status.conditions]
    assert [document for document, _ in found(desk, "canary amber birch")] == ["a.md"]
    assert "deleteP99Ms" in status.progress
    spec = index_spec(desk.options)
    read = {one.topic for one in desk.log.groups() if one.group == spec.name}
    assert topics.canaries(spec.id) in read
    assert read == {*(one.topic for one in spec.reads), *spec.passes}  # one that it does not name would be released


def test_whoever_was_replaced_writes_nothing_more(desk: Desk) -> None:
    old = desk.index()
    drain(old)
    new = desk.index()
    drain(new)
    desk.document("a.md", "text")
    with pytest.raises(FencedError):
        old.step()
    drain(new)
    assert [document for document, _ in found(desk, "text")] == ["a.md"]
