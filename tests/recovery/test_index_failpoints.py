"""Killed at any commit of the index or of its store, the knowledge base is what its topic says, and nothing kept is embedded again."""

import random
import re
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

import headrace
from headrace.knowledge.chunking import ChunkOptions
from headrace.knowledge.generation import Generation
from headrace.knowledge.store import KnowledgeStore
from headrace.log.registry import open_log
from headrace.log.topic_log import TopicLog, TopicSpec
from headrace.stages.index.stage import IndexStage, group, read_index_state
from headrace.testing.clock import VirtualClock
from headrace.testing.failpoints import Kill, Killed, killing
from headrace.testing.index_kills import (
    CHUNKINGS,
    EVENTS,
    OPTIONS,
    History,
    JournalEmbedder,
    Ledger,
    Order,
    append_rows,
    differences,
    expected,
    open_for_reading,
)
from headrace.testing.pipeline import SmallReads

SOURCE = Path(headrace.__file__).parent
STAGE = [SOURCE / "stages" / "index" / name for name in ("stage.py", "generations.py", "canary.py")]
STORE = sorted((SOURCE / "knowledge" / "sqlite").glob("*.py"))
OTHERS = {"knowledge.neighbours.saved", *(f"knowledge.clear.{side}" for side in ("before", "within", "after"))}
"""Passed by those who search and by a reset, never by the index."""
LOG = tuple(f"log.commit.{side}" for side in ("before", "within", "after"))
DAY = 86_400


def discovered() -> list[str]:
    """Every failpoint that the source of the index and of its embedded store names."""
    plain = {name for file in STAGE + STORE for name in re.findall(r'failpoint\("([a-z_.]+)"\)', file.read_text())}
    turns = {
        name
        for file in STORE
        for name in re.findall(r'(?:turn|_transaction)\([^)]*"(knowledge\.\w+)"', file.read_text())
    }
    return sorted((plain | {f"{name}.{side}" for name in turns for side in ("before", "within", "after")}) - OTHERS)


NAMES = discovered()


class Base:
    """A knowledge base over a few phases; each phase's rows are there before the index is opened or goes on."""

    def __init__(self, folder: Path) -> None:
        self.order = Order(folder / "state", folder / "journal", at_most=4)
        self.order.state.mkdir(parents=True)
        self.clock = VirtualClock()
        self.log: TopicLog = open_log(self.order.state, clock=self.clock)
        self.log.ensure_topic(TopicSpec(EVENTS))
        self.ledger = Ledger(self.order.journal, JournalEmbedder(self.order.journal).fingerprint)
        self.chunking = CHUNKINGS[0]
        self.kill = Kill()
        self.kill.passed = dict.fromkeys((*NAMES, *LOG), 0)
        self._draw, self._history = random.Random(3), History(3, documents=7)

    def run(self, phases: int = 5) -> None:
        """Changes; another size of chunks, twice with changes; two days later the old generation goes; then what is too old."""
        for rows, chunking, days in ((24, 0, 0), (12, 1, 0), (8, 1, 0), (8, 1, 2), (6, 1, 100))[:phases]:
            self.clock.advance(1 + days * DAY)
            for _ in range(2):
                append_rows(self.log, self._history.rows(rows // 2), self.clock.now_ms(), self._draw)
                self.clock.advance(1)
            append_rows(self.log, self._history.repeated(3), self.clock.now_ms(), self._draw)
            self.chunking = CHUNKINGS[chunking]
            self.index()
        self._settle()

    def index(self) -> None:
        """To its end; where it is killed, another goes on."""
        try:
            with killing(self.kill, (*NAMES, *LOG)):
                self._drain()
        except Killed:
            self._settle()
            self._drain()

    def _drain(self) -> None:
        embedder = JournalEmbedder(self.order.journal)
        options = replace(OPTIONS, chunking=ChunkOptions(*self.chunking))
        with ExitStack() as ends:
            ends.callback(embedder.close)
            small = SmallReads(self.log, self.order.at_most)
            stage = IndexStage(options, small, "run", self.order.state, self.clock, embedder=embedder)  # type: ignore[arg-type]
            ends.callback(stage.close)
            while stage.step():
                pass

    def _settle(self) -> None:
        with reading(self.order) as store:
            self.ledger.settle(store)


@contextmanager
def reading(order: Order) -> Generator[KnowledgeStore]:
    store = open_for_reading(order)
    try:
        yield store
    finally:
        store.close()


@contextmanager
def base(folder: Path) -> Generator[Base]:
    one = Base(folder)
    try:
        yield one
    finally:
        one.log.close()


@pytest.fixture(scope="module")
def passed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """How often an undisturbed run passes each."""
    with base(tmp_path_factory.mktemp("undisturbed")) as one:
        one.run()
        assert wrong(one) == []
        assert not one.ledger.twice(expected(one.log, generations(one)).chunks)
        return one.kill.passed


def generations(one: Base) -> list[Generation]:
    with reading(one.order) as store:
        return store.generations()


def wrong(one: Base) -> list[str]:
    """What differs from the definition, with what the log was told of it."""
    with reading(one.order) as store:
        known = expected(one.log, store.generations())
        known.store.purge(known.epoch, one.clock.now_ms() - OPTIONS.history_ms)
        lines = differences(one.log, store, known, one_in(known.moments, 12))
    again = [f"{name} was embedded though it was kept" for name in one.ledger.again if name in known.chunks]
    said = read_index_state(one.log, OPTIONS)
    behind = one.log.offset(group(OPTIONS), EVENTS) != one.log.topic(EVENTS).end_offset
    untold = ["the log was not told"] if said is None or said.building or behind else []
    return lines + again + untold


def one_in(moments: list[int], count: int) -> list[int]:
    return moments[:: max(1, len(moments) // count)]


def test_every_failpoint_of_the_index_and_its_store_is_known_and_passed(passed: dict[str, int]) -> None:
    assert len(NAMES) >= 20
    assert {name for name in NAMES if not passed[name]} == set()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_kill_changes_nothing(name: str, passed: dict[str, int], tmp_path: Path) -> None:
    with base(tmp_path) as one:
        one.kill.name, one.kill.nth = name, passed[name] // 2 + 1
        one.run()
        assert one.kill.struck
        assert wrong(one) == []


@pytest.mark.parametrize(
    ("name", "phases"), [("index.apply.after", 5), ("index.say.before", 5), ("index.switch.after", 2)]
)
def test_whoever_waits_is_told_after_a_kill_at_the_very_last_commit(
    name: str, phases: int, passed: dict[str, int], tmp_path: Path
) -> None:
    with base(tmp_path) as one:
        one.kill.name, one.kill.nth = name, passed[name]
        one.run(phases)
        assert one.kill.struck
        assert wrong(one) == []
