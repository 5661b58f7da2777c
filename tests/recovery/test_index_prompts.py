"""Rows between changes of documents: whatever is killed when, the same prompts, passages and signs."""

import json
import re
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

import headrace
from headrace.events import codec, topics
from headrace.knowledge.chunking import ChunkOptions
from headrace.log.record import NewRecord
from headrace.log.registry import open_log
from headrace.log.topic_log import Append, Commit, TopicLog, TopicSpec
from headrace.stages.index.options import KnowledgeOptions
from headrace.stages.index.stage import IndexStage
from headrace.stages.ingest.stage import IngestState, state_key
from headrace.stages.prompt.options import PromptOptions, PromptTemplate
from headrace.stages.prompt.stage import PromptStage
from headrace.testing.builders import read_all
from headrace.testing.clock import VirtualClock
from headrace.testing.failpoints import Kill, Killed, killing
from headrace.testing.index_kills import CHUNKINGS, EVENTS, OPTIONS, History
from headrace.testing.pipeline import SmallReads
from headrace.testing.resource_ids import connector_id, finetuner_id
from headrace.testing.word_embedder import WordEmbedder

ROWS, PROMPTS = topics.rows(finetuner_id("desk")), topics.prompts(finetuner_id("desk"))
STAGES = Path(headrace.__file__).parent / "stages"
LOG = tuple(f"log.commit.{side}" for side in ("before", "within", "after"))
DROPS = {"index.drop.before", "index.drop.after"}
"""A day after the switch."""
NAMES = sorted(
    {
        name
        for file in ("index/stage.py", "index/generations.py", "prompt/stage.py")
        for name in re.findall(r'failpoint\("((?:index|prompt)[a-z_.]+)"\)', (STAGES / file).read_text())
    }
    - DROPS
)


class Desk:
    """Documents and questions, interleaved; index and prompt over them, in turns."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock, self.kill = folder, VirtualClock(), Kill()
        self.log: TopicLog = open_log(folder, clock=self.clock)
        for topic in (EVENTS, ROWS):
            self.log.ensure_topic(TopicSpec(topic))
        state = IngestState(b"", [], 0, 0, ended=False, caught_up_for="test")
        self.log.commit(Commit(state={state_key(connector_id("docs")): msgspec.msgpack.encode(state)}))
        self.kill.passed = dict.fromkeys((*NAMES, *LOG), 0)
        self._history, self._number = History(11, documents=5), 0
        self._chunking = CHUNKINGS[0]

    def run(self) -> list[tuple[Any, ...]]:
        """Everything that the prompts hold in the end. A row comes after every third change; the chunks' size changes once."""
        for phase, chunking in enumerate((0, 0, 1, 1)):
            for place, row in enumerate(self._history.rows(9)):
                self._append(EVENTS, row)
                if place % 3 == 2:
                    self._append(ROWS, {"text": f"what is the {('fee', 'limit', 'address')[phase % 3]} of the card?"})
            self._chunking = CHUNKINGS[chunking]
            self._survive(self._drain)
        return [(one.id, one.kind, one.value, one.event_time, one.origin) for one in read_all(self.log, PROMPTS)]

    def _survive(self, work: Callable[[], None]) -> None:
        try:
            with killing(self.kill, (*NAMES, *LOG)):
                work()
        except Killed:
            work()

    def _drain(self) -> None:
        """In turns, the prompt stage first, so that rows wait for documents."""
        embedder = WordEmbedder(32)
        knowledge = replace(OPTIONS, chunking=ChunkOptions(*self._chunking))
        log: Any = SmallReads(self.log, 2)
        with ExitStack() as ends:
            index = IndexStage(knowledge, log, "test", self.folder, self.clock, embedder=embedder)
            ends.callback(index.close)
            prompt = self._prompt(knowledge, log, embedder)
            ends.callback(prompt.close)
            stages = (prompt, index)
            while any([stage.step() for stage in stages]):  # noqa: C419 - each has its turn
                pass

    def _prompt(self, knowledge: KnowledgeOptions, log: Any, embedder: WordEmbedder) -> PromptStage:
        options = PromptOptions(
            finetuner_id("desk"), (PromptTemplate("{knowledge} {text}"),), knowledge=knowledge, knowledge_limit=2
        )
        return PromptStage(options, log, "test", self.clock, state=self.folder, embedder=embedder)

    def _append(self, topic: str, row: dict[str, object]) -> None:
        self.clock.advance(0.01)
        self._number += 1
        now = self.clock.now_ms()
        record = NewRecord(f"{topic}:{self._number}", codec.ROW, json.dumps(row).encode(), now, ingested_at=now)
        self.log.commit(Commit([Append(topic, [record])]))


@contextmanager
def desk(folder: Path) -> Generator[Desk]:
    one = Desk(folder)
    try:
        yield one
    finally:
        one.log.close()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[tuple[Any, ...]], dict[str, int]]:
    """What an undisturbed run comes to, and how often it passes each failpoint."""
    with desk(tmp_path_factory.mktemp("undisturbed")) as one:
        return one.run(), one.kill.passed


def test_the_run_holds_passages_and_signs_and_passes_every_failpoint(
    undisturbed: tuple[list[tuple[Any, ...]], dict[str, int]],
) -> None:
    prompts, passed = undisturbed
    told = [json.loads(value) for _, _, value, *_ in prompts]
    assert [name for name in NAMES if not passed[name]] == []
    assert sum(bool(one.get("passages")) for one in told) >= 9
    signs = [json.loads(value) for _, kind, value, *_ in prompts if kind == codec.CONTROL]
    assert sum(bool(one.get("changes")) for one in signs) >= 6
    assert len({one["generation"] for one in signs}) == 2


@pytest.mark.slow
@pytest.mark.parametrize("part", [1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_a_kill_changes_no_prompt_no_passage_and_no_sign(
    name: str, part: int, undisturbed: tuple[list[tuple[Any, ...]], dict[str, int]], tmp_path: Path
) -> None:
    expected, passed = undisturbed
    with desk(tmp_path) as one:
        one.kill.name, one.kill.nth = name, max(1, part * passed[name] // 3)
        assert one.run() == expected
        assert one.kill.struck
