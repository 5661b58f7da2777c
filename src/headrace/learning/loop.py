"""The life of one learner, example by example: score, compare, watch for drift, learn, cut (SEMANTICS §5).

Deterministic: the same examples, answers and declarations at the same places give the same weights, scores and decisions,
however reads were batched. It uses neither the log nor a clock; `stages/train` commits its output.

A sign that documents changed closes no round: rounds depend only on counts, and documents that change with every row would make
each row a round. Examples that wait for their round and cite changed documents are scored and learned once, as they arrived; they
are never replayed or used as anchors.
"""

from collections.abc import Sequence

import msgspec

from headrace.events.control import Control
from headrace.events.dead_letter import DeadLetter
from headrace.events.example import Example
from headrace.learning import documents_response, drift_response
from headrace.learning.anchors import AnchorSet
from headrace.learning.documents_response import CREDIT, generation_at
from headrace.learning.drift import DriftDetector
from headrace.learning.fresh import Fresh
from headrace.learning.intake import Intake, IntakeState, tokenized
from headrace.learning.judge import Judge, Scores
from headrace.learning.learner import LEARNER, Learner
from headrace.learning.majority import MajorityAnswer
from headrace.learning.options import LearningOptions
from headrace.learning.output import LearningOutput, score_record
from headrace.learning.reask import Reasker
from headrace.learning.replay import ReplayBuffer
from headrace.learning.rounds import Round
from headrace.learning.scoring import Scoring, score_of
from headrace.learning.tokenizing import Tokenizing
from headrace.log.record import Record
from headrace.models.prompt_renderer import PromptRenderer


class LearningState(IntakeState, frozen=True, kw_only=True):
    """Everything besides the weights that the next lesson depends on. Contains no options."""

    replay: bytes
    drift: bytes
    anchors: bytes
    majority: bytes
    examples: int
    last_loss: float
    credit: int = CREDIT
    generations: list[tuple[int, str]] = msgspec.field(default_factory=list[tuple[int, str]])


class LearningLoop:
    """One finetuner's learner, replay, anchors and drift detector, stepped by examples."""

    def __init__(
        self,
        options: LearningOptions,
        learner: Learner,
        renderer: PromptRenderer,
        topic: str,
        reasker: Reasker,
        judge: Judge,
    ) -> None:
        """`topic`: the examples' topic."""
        self._options, self._learner, self._renderer, self._topic = options, learner, renderer, topic
        self._reasker, self._judge = reasker, judge
        self._scoring = Scoring(learner, renderer.decode)
        self._intake = Intake(options)
        self._replay = ReplayBuffer(options.replay, options.learner.seed)
        self._anchors = AnchorSet(options.anchors)
        self._drift = DriftDetector()
        self._majority = MajorityAnswer()
        self._credit = CREDIT
        self._generations: list[tuple[int, str]] = []
        self.examples = 0
        self.last_loss = 0.0

    def declare(self, options: LearningOptions, *, other_metric: bool) -> None:
        """Applies the declared options. `other_metric`: scores mean something different from here on, so drift detection restarts."""
        self._options = options
        self._learner.declare(options.learner)
        self._intake.declare(options)
        self._replay.declare(options.replay)
        self._anchors.declare(options.anchors)
        if other_metric:
            self._drift.reset()

    @property
    def at_round_boundary(self) -> bool:
        """Whether every example so far is scored."""
        return not self._intake.waiting

    @property
    def anchors(self) -> AnchorSet:
        return self._anchors

    @property
    def replayed(self) -> tuple[Fresh, ...]:
        """The replay buffer's contents, oldest first."""
        return self._replay.items

    @property
    def scoring(self) -> Scoring:
        return self._scoring

    def scored_before(self, offset: int) -> int:
        """Every example before the returned offset is scored; `offset`: the next one. The others wait for their round."""
        return self._intake.scored_before(offset)

    def reasked_at(self) -> list[int]:
        """Signs at which examples still in use for learning or comparison were reasked."""
        return sorted({item.reasked_at for item in (*self._replay.items, *self._anchors.items())} - {-1})

    def progress(self) -> dict[str, int | float | str]:
        """Statistics for display."""
        return {
            "examples": self.examples,
            "rounds": self._intake.next_round,
            "loss": round(self.last_loss, 4),
            "replay": len(self._replay),
            "anchors": len(self._anchors),
            "scoreFast": round(self._drift.fast, 4),
            "scoreSlow": round(self._drift.slow, 4),
        }

    def state(self) -> LearningState:
        """What `restore` needs; the learner saves its weights itself."""
        intake = self._intake.state()
        return LearningState(
            intake.rounds, intake.sources, intake.held, intake.outdated, replay=self._replay.state(),
            drift=self._drift.state(), anchors=self._anchors.state(), majority=self._majority.state(),
            examples=self.examples, last_loss=self.last_loss, credit=self._credit, generations=self._generations,
        )  # fmt: skip

    def restore(self, state: LearningState) -> None:
        """Restores what was learned; the options are those it was opened with."""
        options = self._options
        self._intake = Intake.from_state(state, options)
        self._replay = ReplayBuffer.from_state(state.replay, options.replay, options.learner.seed)
        self._anchors = AnchorSet.from_state(state.anchors, options.anchors)
        self._drift = DriftDetector.from_state(state.drift)
        self._majority = MajorityAnswer.from_state(state.majority)
        self.examples, self.last_loss = state.examples, state.last_loss
        self._credit, self._generations = state.credit, list(state.generations)

    # The stream

    def take(self, record: Record, example: Example) -> LearningOutput:
        """Takes the next example, in topic order."""
        output = LearningOutput()
        item = tokenized(record, example, self._topic, self._tokenizing)
        if isinstance(item, DeadLetter):
            output.dead.append(item)
            return output
        self._credit = min(self._credit + 1, CREDIT)
        self._judge.answered(item.answer)
        if self._anchors.takes(example.root_id):
            self._intake.hold(record, item)
        elif closed := self._intake.add(record, item, complete=example.index == example.count - 1):
            self._learn_round(closed, output)
        return output

    def end_of_input(self) -> LearningOutput:
        """Learns the partial round, so that every example taken is learned and scored."""
        output = LearningOutput()
        if closed := self._intake.flush():
            self._learn_round(closed, output)
        if held := self._intake.held_up_to():
            self._score([], held, output)
        return output

    def documents_changed(self, offset: int, sign: Control) -> LearningOutput:
        """Reasks or drops examples learned from other versions of the documents; later examples have the new ones."""
        output = LearningOutput()
        if sign.generation and sign.generation != generation_at(self._generations, offset):
            self._generations.append((offset, sign.generation))
        current = documents_response.current_versions(sign)
        self._intake.documents_changed(lambda item: item.outdated_by(current))
        response = documents_response.respond(
            offset, sign, self._replay, self._anchors, self._reasker, self._tokenizing, self._credit
        )
        if response is None:
            return output
        self._credit -= response.asked
        output.decisions.append(response.decision)
        output.signs.add(offset)
        output.must_commit = True
        if response.labels_changed:
            self._learner.rewarm()
            self._drift.reset()
            output.decisions += self._judge.answers_changed(offset, self.examples)
        return output

    @property
    def _tokenizing(self) -> Tokenizing:
        return Tokenizing(self._renderer, self._options.input_max, self._options.output_max)

    # One round, from top to bottom

    def _learn_round(self, closed: Round, output: LearningOutput) -> None:
        last = closed.items[-1].offset
        scores = self._score(closed.items, self._intake.held_up_to(last), output)
        weighed = self._judge.weigh(closed.items, scores)
        output.decisions += weighed
        output.must_commit |= bool(weighed)
        self._watch_for_drift(closed.items, scores, output)
        self._learn(closed)
        if self._judge.due(len(closed.items), self.examples):
            output.decisions.append(self._judge.cut(last, self._generation_of(last)))

    def _score(self, learned: Sequence[Fresh], held: Sequence[Fresh], output: LearningOutput) -> Scores:
        """Turns every score into a record. Held-out examples become anchors."""
        items = sorted([*learned, *held], key=lambda item: item.offset)
        anchors = {item.example_id for item in held}
        scores = self._scoring.round(items, tuple(self._judge.frozen()), self._options)
        for item in items:
            anchor = item.example_id in anchors
            if anchor and self._intake.may_be_kept(item):
                self._anchors.add(item)
            right = self._majority.update(item.answer)
            score = score_of(item, scores, self._judge, majority_exact=right, anchor=anchor)
            output.scores.append((item.offset, score_record(score, self._intake.scored(item), self._topic)))
        return scores

    def _watch_for_drift(self, items: Sequence[Fresh], scores: Scores, output: LearningOutput) -> None:
        fell = [
            item
            for item in items
            if self._drift.update(self._judge.metric(item.answer, scores[LEARNER][item.example_id]))
        ]
        if not fell:
            return
        offset = fell[-1].offset
        response = drift_response.respond(offset, self._replay, self._anchors, self._reasker, self._tokenizing)
        output.decisions.append(response.decision)
        output.must_commit = True
        self._learner.rewarm()
        if response.labels_changed:
            output.decisions += self._judge.answers_changed(offset, self.examples)

    def _learn(self, closed: Round) -> None:
        fresh = [item.sequence for item in closed.items]
        replayed = [
            self._replay.draw(len(fresh), closed.number, epoch) for epoch in range(self._options.learner.epochs)
        ]
        report = self._learner.learn([fresh + [item.sequence for item in drawn] for drawn in replayed])
        self.last_loss = report.loss
        self._replay.add([item for item in closed.items if self._intake.may_be_kept(item)])
        self.examples += len(closed.items)

    def _generation_of(self, offset: int) -> str:
        """The generation of the newest example learned; earlier generations are not requested again."""
        found = generation_at(self._generations, offset)
        self._generations = [one for one in self._generations if one[0] >= offset or one[1] == found]
        return found
