"""Documents change while a finetuner learns: the teacher answers again, and nothing learned from former versions is used again.

Everything is real but for the size: the store, an HTTP teacher that reads the policy from its prompt, the label and train stages.
"""

import json
import random
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from headrace.events import codec, topics
from headrace.events.control import Control
from headrace.events.decision import Decision
from headrace.events.example import Example
from headrace.foundation.errors import UnavailableError
from headrace.learning.anchors import AnchorOptions, AnchorSet
from headrace.learning.documents_response import generation_at
from headrace.learning.fresh import Fresh
from headrace.learning.learner import LearnerOptions
from headrace.learning.options import LearningOptions
from headrace.learning.replay import ReplayBuffer, ReplayOptions
from headrace.log.record import NewRecord
from headrace.log.registry import open_log
from headrace.log.topic_log import Append, Commit, TopicLog, TopicSpec
from headrace.models.tiny import new_checkpoint
from headrace.promotion import registry
from headrace.promotion.gate import GateOptions
from headrace.stages.embed.options import EmbedOptions
from headrace.stages.index.options import KnowledgeOptions
from headrace.stages.index.stage import IndexStage
from headrace.stages.ingest.stage import IngestState, state_key
from headrace.stages.label.options import BudgetOptions, LabelOptions
from headrace.stages.label.stage import LabelStage
from headrace.stages.prompt.options import PromptOptions, PromptTemplate
from headrace.stages.prompt.stage import PromptStage
from headrace.stages.topology import Topology
from headrace.stages.train.options import TrainOptions
from headrace.stages.train.spec import train_spec
from headrace.stages.train.stage import TrainStage
from headrace.stages.train.train_state import read_train_state
from headrace.teachers.teacher import TeacherOptions
from headrace.testing.clock import VirtualClock
from headrace.testing.failpoints import Kill, Killed, killing
from headrace.testing.light_learner import LightLearner
from headrace.testing.pipeline import SmallReads, differences, snapshot
from headrace.testing.provider_servers import OpenAIProtocol, ProviderServer, Request
from headrace.testing.resource_ids import connector_id, embedding_model_id, finetuner_id, knowledge_base_id
from headrace.testing.word_embedder import WordEmbedder

pytestmark = pytest.mark.slow  # together

START = 1_700_000_000_000
NOUNS = ("card", "fee", "transfer", "cash")
POLICY = {
    "cards.md": "Every question about a card goes to cards. Every question about a fee goes to till.",
    "money.md": "Every question about a transfer goes to payments. Every question about cash goes to money.",
}
CARDS_AFTER = "Every question about a card goes to desk. Every question about a fee goes to rates."
KNOWLEDGE = KnowledgeOptions(
    knowledge_base_id("policies"), connector_id("docs"), EmbedOptions(embedding_model_id("words")), mode="keyword"
)
TEMPLATE = PromptTemplate("{knowledge} {text}?")
ROWS, EXAMPLES = topics.rows(finetuner_id("desk")), topics.examples(finetuner_id("desk"))


def by_policy(request: Request) -> str:
    """Reads the team from the policy in its own prompt, and from nowhere else."""
    text = request.fields()["messages"][-1]["content"]
    noun = next(noun for noun in NOUNS if f"my {noun}" in text)
    found = re.search(rf"about (?:a )?{noun} goes to (\w+)", text)
    return found[1] if found else "nobody"


class Teacher(ProviderServer):
    """Counts what it was asked."""

    def __init__(self) -> None:
        super().__init__(OpenAIProtocol(), by_policy)

    @property
    def asked(self) -> list[str]:
        return [request.fields()["messages"][-1]["content"] for request in self.requests]


@pytest.fixture(scope="module")
def server() -> Iterator[Teacher]:
    with Teacher() as running:
        yield running


@pytest.fixture
def teacher(server: Teacher) -> Teacher:
    """It has not been asked yet."""
    server.script()
    return server


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base") / "model"
    words = [*POLICY.values(), CARDS_AFTER, *(f"my {noun}? nobody" for noun in NOUNS)]
    new_checkpoint(folder, size="tiny", text=[*words, "0 1 2 3 4 5 6 7 8 9"] * 5, seed=1, vocabulary=512)
    return folder


class Desk:
    """A state directory with documents and rows; its stages are opened, stepped and closed by hand."""

    def __init__(self, folder: Path, base: Path, teacher: Teacher) -> None:
        self.folder, self.base, self.teacher = folder, base, teacher
        self.clock, self.embedder = VirtualClock(START), WordEmbedder()
        self.log: TopicLog = open_log(folder, clock=self.clock)
        for topic in (topics.events(connector_id("docs")), ROWS):
            self.log.ensure_topic(TopicSpec(topic))
        state = IngestState(b"", [], 0, 0, ended=False, caught_up_for="test")
        self.log.commit(Commit(state={state_key(connector_id("docs")): msgspec.msgpack.encode(state)}))
        self.labelling: dict[str, Any] = {}
        self.training: dict[str, Any] = {"knowledge": KNOWLEDGE, "knowledge_limit": 1}
        self.learning: dict[str, Any] = {}
        self.prompting: dict[str, Any] = {}
        self._number = 0

    def document(self, path: str, body: str | None) -> None:
        row = {"path": path, **({"body": body} if body is not None else {"operation": "delete"})}
        self._append(topics.events(connector_id("docs")), json.dumps(row).encode())

    def rows(self, count: int, nouns: tuple[str, ...] = NOUNS, **columns: object) -> None:
        for number in range(count):
            row = {"text": f"my {nouns[number % len(nouns)]} {number // len(nouns) % 3}", **columns}
            self._append(ROWS, json.dumps(row).encode())

    def end(self) -> None:
        self._append(ROWS, codec.encode(Control("end", "desk")), codec.CONTROL)

    def _append(self, topic: str, value: bytes, kind: str = codec.ROW) -> None:
        self.clock.advance(0.01)
        self._number += 1
        now = self.clock.now_ms()
        record = NewRecord(f"{topic}:{self._number}", kind, value, now, ingested_at=now)
        self.log.commit(Commit([Append(topic, [record])]))

    def prompt(self) -> None:
        """Indexes all documents and makes prompts of all rows, which see the documents of their own moment."""
        index = IndexStage(KNOWLEDGE, self.log, "test", self.folder, self.clock, embedder=self.embedder)
        options = PromptOptions(finetuner_id("desk"), (TEMPLATE,), knowledge=KNOWLEDGE, knowledge_limit=1)
        prompt = PromptStage(
            replace(options, **self.prompting), self.log, "test", self.clock, state=self.folder, embedder=self.embedder
        )
        for stage in (index, prompt):
            while stage.step():
                pass
            stage.close()

    @property
    def label_options(self) -> LabelOptions:
        template = {"apikey": self.teacher.key, "model": self.teacher.protocol.model, "endpoint": self.teacher.endpoint}
        given = LabelOptions(finetuner_id("desk"), TeacherOptions("lead", "OpenAI", template), concurrency=4)
        return replace(given, **self.labelling)

    @property
    def train_options(self) -> TrainOptions:
        learner = LearnerOptions(self.base, learning_rate=5e-3, warmup_steps=4, batch_size=8)
        learning = replace(LearningOptions(learner, anchors=AnchorOptions(64)), **self.learning)
        gate = GateOptions(candidate_every=40, max_rows=60)
        given = TrainOptions(finetuner_id("desk"), learning, gate, teacher=self.label_options)
        return replace(given, **self.training)

    def label(self) -> LabelStage:
        return LabelStage(self.label_options, self.log, "test", self.folder)

    def train(self) -> TrainStage:
        options = self.train_options
        small: Any = SmallReads(self.log, 10)
        return TrainStage(options, small, "test", self.folder, learner=LightLearner, embedder=self.embedder)

    def run(self, *stages: Callable[[], LabelStage | TrainStage]) -> None:
        """Opens the stages, steps them until nothing is left to do, and closes them."""
        opened = [stage() for stage in stages or (self.label, self.train)]
        try:
            while any([stage.step() for stage in opened]):  # noqa: C419 every stage takes its turn
                pass
        finally:
            for stage in opened:
                stage.close()

    def examples(self) -> list[Example | Control]:
        records = self.log.read(EXAMPLES, 0)
        return [codec.decode(one, Control if one.kind == codec.CONTROL else Example) for one in records]

    def answers(self) -> list[str]:
        """Of every example the answer, of every sign its name."""
        return [one.answer if isinstance(one, Example) else one.sign for one in self.examples()]

    def decisions(self, kind: str = "documents") -> list[Decision]:
        records = self.log.read(topics.decisions(finetuner_id("desk")), 0)
        found = [codec.decode(one, Decision) for one in records if one.kind == codec.KINDS[Decision]]
        return [one for one in found if one.kind == kind]

    def learned(self) -> "Learned":
        """What the newest checkpoint holds."""
        state = read_train_state(self.log, finetuner_id("desk"))
        assert state
        folder = self.folder / "checkpoints" / "default.desk" / state.checkpoints[-1].digest
        policy = msgspec.msgpack.decode((folder / "policy.msgpack").read_bytes())
        anchors = AnchorSet.from_state(policy["anchors"], AnchorOptions(64))
        return Learned(
            ReplayBuffer.from_state(policy["replay"], ReplayOptions(), 0).items, anchors.items(), anchors.version
        )

    def close(self) -> None:
        self.log.close()


@dataclass(frozen=True)
class Learned:
    replay: tuple[Fresh, ...]
    anchors: tuple[Fresh, ...]
    anchor_version: int

    def citing(self, document: str) -> tuple[list[Fresh], list[Fresh]]:
        return [one for one in self.replay if document in one.documents], [
            one for one in self.anchors if document in one.documents
        ]


@pytest.fixture
def desk(tmp_path: Path, base: Path, teacher: Teacher) -> Iterator[Desk]:
    desk = Desk(tmp_path / "state", base, teacher)
    yield desk
    desk.close()


def publish(desk: Desk) -> None:
    for path, body in POLICY.items():
        desk.document(path, body)
    desk.prompt()


def reorganise(desk: Desk, before: int, after: int) -> None:
    """Rows, then another policy for cards, then rows."""
    publish(desk)
    desk.rows(before)
    desk.prompt()
    desk.document("cards.md", CARDS_AFTER)
    desk.rows(after)
    desk.end()
    desk.prompt()


FORMER, NEW = ["cards", "till", "payments", "money"], ["desk", "rates", "payments", "money"]


def test_a_changed_policy_changes_what_the_teacher_answers_at_its_place(desk: Desk) -> None:
    reorganise(desk, 40, 40)
    desk.run(desk.label)
    assert desk.answers() == ["documents", *FORMER * 10, "documents", *NEW * 10, "end"]
    prompts = desk.log.read(topics.prompts(finetuner_id("desk")), 0)
    signs = [one.kind == codec.CONTROL for one in prompts]
    assert signs == [one.kind == codec.CONTROL for one in desk.log.read(EXAMPLES, 0)]
    example = next(one for one in desk.examples() if isinstance(one, Example))
    assert "{knowledge}" in example.messages[0].content
    assert example.passages[0].document == "cards.md"
    assert not any("{knowledge}" in text for text in desk.teacher.asked)
    assert sum("about a card goes to desk" in text for text in desk.teacher.asked) == 6, "two nouns, three texts each"


def test_an_answer_made_from_a_former_version_is_not_used_again_though_the_text_is_the_same(desk: Desk) -> None:
    publish(desk)
    desk.rows(24)
    desk.prompt()
    desk.run(desk.label)
    assert len(desk.teacher.asked) == 12
    desk.document("cards.md", POLICY["cards.md"] + "\n\n# Elsewhere\n\nSomething else altogether about branches.")
    desk.rows(24)
    desk.prompt()
    desk.run(desk.label)
    again = desk.teacher.asked[12:]
    assert sorted(again) == sorted(text for text in desk.teacher.asked[:12] if "my card" in text or "my fee" in text)


def test_prompts_that_cite_what_changes_wait_for_the_sign_and_the_rest_does_not(desk: Desk) -> None:
    reorganise(desk, 8, 8)
    stage = desk.label()
    desk.teacher.script("slow")  # one of the first four questions, which are asked side by side, is never answered
    stage.step()
    stage.step()
    for _ in range(200):
        if len(desk.teacher.asked) >= 7:
            break
        stage.step()
    stage.close()
    answers = desk.answers()
    assert answers == ["documents", *FORMER][: len(answers)]
    assert 1 <= len(answers) < 5
    assert not any("goes to desk" in text for text in desk.teacher.asked)


def test_what_cites_a_changed_document_is_asked_again_with_its_new_passages(desk: Desk) -> None:
    reorganise(desk, 240, 8)
    desk.run()
    [decision] = desk.decisions()
    facts = decision.details
    assert (facts["documents"], facts["knowledgeBase"], facts["changedDocuments"]) == ("cards.md", "policies", 1)
    assert (facts["asked"], facts["answered"], facts["changed"]) == (64 + facts["citingAnchors"],) * 3
    assert facts["citingAnchors"] > 2
    assert facts["dropped"] == facts["citing"] - 64
    assert (facts["droppedAnchors"], facts["anchorVersionBefore"], decision.anchor_version) == (0, 1, 2)
    learned = desk.learned()
    replayed, anchors = learned.citing("cards.md")
    signs = [place for place, one in enumerate(desk.examples()) if isinstance(one, Control)]
    assert {one.reasked_at for one in replayed if one.offset < signs[1]} == {signs[1]}
    assert {one.answer for one in [*replayed, *anchors]} == {"desk", "rates"}
    assert len({one.versions for one in [*replayed, *anchors]}) == 1
    assert {one.answer for one in learned.citing("money.md")[0]} == {"payments", "money"}
    assert all(one.reasked_at == -1 for one in learned.citing("money.md")[0])
    assert learned.anchor_version == 2


def test_examples_that_wait_for_their_round_are_learned_once_and_not_kept(desk: Desk) -> None:
    publish(desk)
    desk.rows(21, ("card",))
    desk.prompt()
    desk.document("cards.md", CARDS_AFTER)
    desk.rows(20, ("card",))
    desk.end()
    desk.prompt()
    desk.run()
    replayed, anchors = desk.learned().citing("cards.md")
    assert {one.answer for one in [*replayed, *anchors]} == {"desk"}
    scores = desk.log.read(topics.scores(finetuner_id("desk")), 0)
    assert len([one for one in scores if one.kind != codec.CONTROL]) == 41


def test_a_deleted_document_is_no_longer_learned_from(desk: Desk) -> None:
    publish(desk)
    desk.rows(80)
    desk.prompt()
    desk.document("cards.md", None)
    desk.rows(8)
    desk.end()
    desk.prompt()
    desk.run()
    replayed, anchors = desk.learned().citing("cards.md")
    assert replayed == anchors == []
    assert desk.decisions()[0].details["changed"] == desk.decisions()[0].details["asked"]
    assert desk.answers()[-9:-1] == ["nobody", "nobody", "payments", "money"] * 2


def test_a_document_that_nothing_cites_changes_nothing(desk: Desk) -> None:
    publish(desk)
    desk.rows(40)
    desk.prompt()
    desk.document("branches.md", "Our branches open at nine.")
    desk.rows(8)
    desk.end()
    desk.prompt()
    desk.run()
    assert desk.answers().count("documents") == 2
    assert desk.decisions() == []
    assert all(one.reasked_at == -1 for one in desk.learned().replay)


def test_without_a_teacher_what_cites_a_changed_document_is_dropped(desk: Desk) -> None:
    desk.prompting = {"ground_truth_column": "team"}
    desk.labelling = {"teacher": None}
    desk.training |= {"teacher": None}
    publish(desk)
    desk.rows(160, team="cards")
    desk.prompt()
    desk.document("cards.md", CARDS_AFTER)
    desk.rows(8, ("transfer",), team="money")
    desk.end()
    desk.prompt()
    desk.run()
    [decision] = desk.decisions()
    facts = decision.details
    assert (facts["asked"], facts["dropped"]) == (0, facts["citing"])
    assert facts["droppedAnchors"] == facts["citingAnchors"] > 0
    assert decision.anchor_version == 2
    assert desk.learned().citing("cards.md") == ([], [])
    assert desk.teacher.asked == []


def test_what_the_budget_does_not_pay_for_is_dropped(desk: Desk) -> None:
    reorganise(desk, 80, 0)
    desk.run(desk.label)
    desk.labelling = {"budget": BudgetOptions(tokens=1)}
    desk.run(desk.train)
    facts = desk.decisions()[0].details if desk.decisions() else {}
    assert facts == {}, "no row came behind the change, so that no sign stands there"
    desk.rows(4, ("transfer",))
    desk.prompt()
    desk.labelling = {}
    desk.run(desk.label)
    desk.labelling = {"budget": BudgetOptions(tokens=1)}
    desk.run(desk.train)
    [decision] = desk.decisions()
    assert decision.details["answered"] == 0
    assert decision.details["dropped"] == decision.details["citing"] > 0
    assert "budget" in decision.reason


def test_documents_that_change_with_every_row_ask_no_more_than_the_rows_do(desk: Desk) -> None:
    publish(desk)
    desk.rows(90, ("card",))
    desk.prompt()
    for number in range(8):
        desk.document("cards.md", f"{CARDS_AFTER} Edition {number}.")
        desk.rows(4, ("card",))
    desk.end()
    desk.prompt()
    desk.run()
    asked = [int(one.details["asked"]) for one in desk.decisions()]
    assert len(asked) == 8
    assert 64 + 128 < sum(asked) <= 64 + 128 + 4 * 8
    assert {one.versions for one in desk.learned().replay} == {desk.learned().replay[-1].versions}


def test_where_most_answers_change_the_learning_rate_warms_up_and_the_candidate_is_given_up(desk: Desk) -> None:
    publish(desk)
    desk.rows(60, ("card", "fee"))
    desk.prompt()
    desk.document("cards.md", CARDS_AFTER)
    desk.rows(60, ("card", "fee"))
    desk.end()
    desk.prompt()
    desk.run()
    cut = desk.decisions("cut")[0]
    [sign] = [one.last_offset for one in desk.decisions()]
    rejected = next(one for one in desk.decisions("rejected") if one.subject == cut.subject)
    assert cut.last_offset < sign == rejected.last_offset
    assert "the answers changed" in rejected.reason
    assert all(one.last_offset >= sign + 38 for one in desk.decisions("cut")[1:])


def test_a_version_names_the_generation_that_it_was_trained_with(desk: Desk) -> None:
    desk.training |= {"gate": GateOptions(candidate_every=64, max_rows=300, alpha=0.3)}
    publish(desk)
    desk.rows(300)
    desk.end()
    desk.prompt()
    desk.run()
    sign = desk.examples()[0]
    assert isinstance(sign, Control)
    found = registry.load(desk.log, finetuner_id("desk"))
    assert found
    names = {one.name: one.knowledge for one in found[0].versions}
    assert len(names) > 1
    assert names == {name: "" if name == "v0" else sign.generation for name in names}
    assert sign.generation


def test_what_was_reasked_is_asked_about_with_its_new_passages_on_drift(desk: Desk) -> None:
    reorganise(desk, 80, 4)
    desk.run()
    stage = desk.train()
    item = next(one for one in stage._loop.learning.replayed if one.reasked_at >= 0)
    example = stage._reasker.example(item)
    stage.close()
    assert example.answer == item.answer
    assert [(one.document, one.version) for one in example.passages] == list(
        zip(item.documents, item.versions, strict=True)
    )
    assert "goes to desk" in example.passages[0].text


def test_answers_that_nothing_is_learned_from_any_more_are_deleted(desk: Desk) -> None:
    desk.learning = {"replay": ReplayOptions(capacity=16), "anchors": AnchorOptions(0)}
    desk.training |= {"gate": GateOptions(), "checkpoint_interval_ms": 0}
    reorganise(desk, 40, 80)
    desk.run()
    assert desk.decisions()[0].details["answered"] == 8
    assert desk.log.state("train/default.desk", "renewed/") == {}


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_kept_that_cites_what_no_longer_holds(seed: int, desk: Desk) -> None:
    """Random histories: edits, deletions, returns, in bursts and alone."""
    draw = random.Random(seed)
    publish(desk)
    for step in range(12):
        desk.rows(draw.randrange(1, 30), tuple(draw.sample(NOUNS, 3)))
        for _ in range(draw.randrange(3)):
            name = draw.choice([*POLICY, "other.md"])
            desk.document(
                name,
                None
                if draw.random() < 0.3
                else f"{POLICY['cards.md']} {POLICY['money.md']} {name} {step}".replace(" ", f" since {step} ", 1),
            )
        desk.prompt()
    desk.rows(1)
    desk.end()
    desk.prompt()
    desk.run()
    signs = [one for one in desk.examples() if isinstance(one, Control)]
    current = {one.document: None if one.deleted else one.version for sign in signs for one in sign.changes}
    learned = desk.learned()
    assert current
    assert learned.replay
    assert [one for one in (*learned.replay, *learned.anchors) if one.outdated_by(current)] == []
    scores = [one for one in desk.log.read(topics.scores(finetuner_id("desk")), 0) if one.kind != codec.CONTROL]
    assert len({one.id for one in scores}) == len(scores) == sum(isinstance(one, Example) for one in desk.examples())


def test_a_knowledge_base_that_is_away_makes_the_learner_wait(desk: Desk) -> None:
    desk.training["knowledge"] = replace(KNOWLEDGE, mode="hybrid")
    reorganise(desk, 40, 8)
    desk.run(desk.label)
    desk.embedder.away = True
    with pytest.raises(UnavailableError):
        desk.run(desk.train)
    assert desk.decisions() == []
    desk.embedder.away = False
    desk.run(desk.train)
    assert desk.decisions()[0].details["dropped"] == 0


def test_the_generation_of_an_example_is_the_one_that_was_named_last_before_it() -> None:
    named = [(0, "a"), (5, "b"), (9, "a")]
    assert [generation_at(named, offset) for offset in (0, 1, 5, 6, 9, 10)] == ["", "a", "a", "b", "b", "a"]


# Kills


@dataclass(frozen=True)
class Scenario:
    folder: Path
    undisturbed: dict[str, Any]
    topology: Topology


@pytest.fixture(scope="module")
def scenario(tmp_path_factory: pytest.TempPathFactory, base: Path, server: Teacher) -> Scenario:
    """Prompts around three changes, none of them labelled yet; and what becomes of them undisturbed."""
    folder = tmp_path_factory.mktemp("changes") / "state"
    desk = Desk(folder, base, server)
    publish(desk)
    desk.rows(59)
    desk.prompt()
    desk.document("cards.md", CARDS_AFTER)
    desk.rows(29)
    desk.prompt()
    desk.document("money.md", POLICY["money.md"].replace("payments", "desk"))
    desk.document("cards.md", None)
    desk.rows(31)
    desk.end()
    desk.prompt()
    desk.close()
    twin = twin_of(folder, tmp_path_factory.mktemp("undisturbed") / "state", base, server)
    topology = Topology((train_spec(twin.train_options),))
    twin.run()
    twin.close()
    return Scenario(folder, snapshot(topology, twin.folder), topology)


def twin_of(folder: Path, target: Path, base: Path, server: Teacher) -> Desk:
    shutil.copytree(folder, target)
    return again(target, base, server)


def again(folder: Path, base: Path, server: Teacher) -> Desk:
    """Makes a checkpoint after every step."""
    desk = Desk(folder, base, server)
    desk.training["checkpoint_interval_ms"] = 0
    return desk


POINTS = {
    "label.commit.before": (2,), "label.commit.after": (3,), "teacher.answer.before": (13,), "teacher.renew.before": (1, 2), "teacher.renew.after": (1, 2), "train.reask.before": (1, 2),
    "train.reask.after": (1, 2), "train.commit.before": (5,), "store.put.after": (6,),
}  # fmt: skip


@pytest.mark.parametrize(("name", "nth"), [(name, nth) for name, times in POINTS.items() for nth in times])
def test_a_kill_changes_nothing(
    name: str, nth: int, scenario: Scenario, base: Path, server: Teacher, tmp_path: Path
) -> None:
    dead = twin_of(scenario.folder, tmp_path / "state", base, server)
    with killing(Kill(name, nth)) as kill, pytest.raises(Killed):
        dead.run()
    assert kill.struck
    dead.close()
    alive = again(tmp_path / "state", base, server)
    alive.run()
    alive.close()
    assert differences(snapshot(scenario.topology, alive.folder), scenario.undisturbed) == []


@pytest.mark.parametrize("nth", [6, 7, 9, 11])
def test_a_damaged_checkpoint_is_learned_again_from_the_one_before(
    nth: int, scenario: Scenario, base: Path, server: Teacher, tmp_path: Path
) -> None:
    dead = twin_of(scenario.folder, tmp_path / "state", base, server)
    dead.run(dead.label)
    with killing(Kill("train.commit.after", nth)), pytest.raises(Killed):
        dead.run(dead.train)
    state = read_train_state(dead.log, finetuner_id("desk"))
    assert state
    dead.close()
    newest = tmp_path / "state" / "checkpoints" / "default.desk" / state.checkpoints[-1].digest
    (newest / "policy.msgpack").write_bytes(b"broken")
    alive = again(tmp_path / "state", base, server)
    alive.run()
    alive.close()
    assert differences(snapshot(scenario.topology, alive.folder), scenario.undisturbed) == []


def test_an_edit_elsewhere_in_a_document_leaves_what_was_learned_alone(desk: Desk) -> None:
    desk.document("cards.md", POLICY["cards.md"])
    desk.prompt()
    desk.rows(24, (NOUNS[0],))
    desk.prompt()
    desk.document("cards.md", f"{POLICY['cards.md']} A further sentence says something else.")
    desk.rows(24, (NOUNS[0],))
    desk.end()
    desk.prompt()
    desk.run()
    assert [one for one in desk.decisions() if one.kind == "documents"] == []
    assert {version for one in desk.learned().replay for version in one.versions} == {"r0", "r1"}
