"""A trainer on a state directory of its own, run again and again under changing declarations."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from headrace.events import codec, topics
from headrace.events.control import Control
from headrace.events.dead_letter import DeadLetter
from headrace.events.decision import Decision
from headrace.events.example import Example
from headrace.events.message import Message
from headrace.learning.anchors import AnchorOptions
from headrace.learning.learner import LearnerOptions, RoundReport
from headrace.learning.options import LearningOptions
from headrace.learning.replay import ReplayOptions
from headrace.log.record import NewRecord
from headrace.log.registry import open_log
from headrace.log.topic_log import Append, Commit, TopicSpec
from headrace.models.sequence import TokenSequence
from headrace.promotion import registry
from headrace.promotion.gate import GateOptions
from headrace.promotion.registry import Registry
from headrace.stages.stage import Condition, read_statuses
from headrace.stages.topology import Topology
from headrace.stages.train.options import TrainOptions
from headrace.stages.train.spec import train_spec
from headrace.stages.train.stage import TrainStage
from headrace.stages.train.train_state import TrainState, read_train_state
from headrace.testing.builders import read_all
from headrace.testing.clock import VirtualClock
from headrace.testing.light_learner import LightLearner
from headrace.testing.pipeline import snapshot
from headrace.testing.resource_ids import finetuner_id

WORDS = ("card", "fee", "transfer", "cash")
TEAMS = ("cards", "till", "payments", "money")
EXAMPLES = topics.examples(finetuner_id("desk"))


@dataclass(frozen=True)
class Lesson:
    """A round as the learner saw it."""

    sequences: int
    report: RoundReport
    options: LearnerOptions


class Watched(LightLearner):
    """The light learner, which tells what it was given."""

    def __init__(self, options: LearnerOptions, lessons: list[Lesson]) -> None:
        super().__init__(options)
        self._lessons = lessons

    def learn(self, epochs: Sequence[Sequence[TokenSequence]]) -> RoundReport:
        report = super().learn(epochs)
        self._lessons.append(Lesson(len(epochs[-1]), report, self._options))
        return report


def default_options(base: Path) -> TrainOptions:
    learner = LearnerOptions(base, "full", "adamw", learning_rate=5e-3, warmup_steps=4, batch_size=8)
    learning = LearningOptions(learner, replay=ReplayOptions(capacity=64), anchors=AnchorOptions(16))
    gate = GateOptions(candidate_every=32, max_rows=300, probation_rows=100)
    return TrainOptions(finetuner_id("desk"), learning, gate, checkpoint_interval_ms=0)


def changed(options: TrainOptions, path: str, value: Any) -> TrainOptions:
    """The options with another value at `learning.learner.batch_size` or the like."""
    head, _, rest = path.partition(".")
    inner: Any = getattr(options, head)
    if rest:
        value = changed(inner, rest, value)
    if isinstance(options, msgspec.Struct):
        return msgspec.structs.replace(options, **{head: value})
    return replace(options, **{head: value})


@dataclass
class DeclaredDesk:
    """Its examples are written by hand; each `run` opens a trainer, steps it until nothing is left, and closes it."""

    folder: Path
    options: TrainOptions
    lessons: list[Lesson] = field(default_factory=list[Lesson])

    def __post_init__(self) -> None:
        self.clock = VirtualClock()
        self.log = open_log(self.folder, clock=self.clock)
        self.log.ensure_topic(TopicSpec(EXAMPLES))
        self.number = len(read_all(self.log, EXAMPLES))

    def examples(self, count: int, *, wrong_anchors: bool = False) -> None:
        """Questions whose team follows from a word; with `wrong_anchors` those that are held out have an answer that no other has."""
        anchors = self.stage_anchors()
        records: list[NewRecord] = []
        for number in range(self.number, self.number + count):
            kind = number % len(WORDS)
            team = TEAMS[kind]
            if wrong_anchors and anchors.takes(f"root-{number}"):
                team = "my my my"
            example = Example(
                f"row-{number}", f"root-{number}", 0, 1, [Message("user", f"my {WORDS[kind]} {number % 7}")], team, "column:team"
            )  # fmt: skip
            records.append(self._record(number, codec.kind_of(example), codec.encode(example)))
        self.number += count
        self.log.commit(Commit([Append(EXAMPLES, records)]))

    @staticmethod
    def stage_anchors() -> Any:
        from headrace.learning.anchors import AnchorSet

        return AnchorSet(AnchorOptions())

    def end(self) -> None:
        record = self._record(self.number, codec.CONTROL, codec.encode(Control("end", "desk")))
        self.number += 1
        self.log.commit(Commit([Append(EXAMPLES, [record])]))

    def _record(self, number: int, kind: str, value: bytes) -> NewRecord:
        return NewRecord(f"e-{number}", kind, value, 1_700_000_000_000 + number, ingested_at=1_700_000_000_000 + number)

    def open(self) -> TrainStage:
        return TrainStage(
            self.options,
            self.log,
            "test",
            self.folder,
            self.clock,
            learner=lambda options: Watched(options, self.lessons),
        )

    def run(self) -> None:
        stage = self.open()
        try:
            while stage.step():
                pass
            self.progress = stage._loop.progress()  # pyright: ignore[reportPrivateUsage]
        finally:
            stage.close()

    def declare(self, path: str, value: Any) -> None:
        self.options = changed(self.options, path, value)

    def decisions(self, kind: str | None = None) -> list[Decision]:
        records = read_all(self.log, topics.decisions(finetuner_id("desk")))
        found = [codec.decode(one, Decision) for one in records if one.kind == codec.KINDS[Decision]]
        return [one for one in found if kind in (None, one.kind)]

    def changes(self) -> list[dict[str, Any]]:
        """Of every declaration but the first the values that changed."""
        facts = [dict(one.details) for one in self.decisions("declaration")][1:]
        return [{name: value for name, value in one.items() if name != "digest"} for one in facts]

    def dead(self) -> list[DeadLetter]:
        records = read_all(self.log, topics.stage_dead(finetuner_id("desk"), "train"))
        return [codec.decode(one, DeadLetter) for one in records]

    def state(self) -> TrainState:
        found = read_train_state(self.log, finetuner_id("desk"))
        assert found
        return found

    def registry(self) -> Registry:
        found = registry.load(self.log, finetuner_id("desk"))
        assert found
        return found[0]

    def condition(self, kind: str) -> Condition:
        [status] = read_statuses(self.log)
        return next(one for one in status.conditions if one.type == kind)

    def snapshot(self) -> dict[str, Any]:
        return snapshot(Topology((train_spec(self.options),)), self.folder)

    def close(self) -> None:
        self.log.close()

    def twin(self, folder: Path) -> "DeclaredDesk":
        """A copy of the state directory as it is, under the same declaration."""
        shutil.copytree(self.folder, folder)
        return DeclaredDesk(folder, self.options)
