"""The life of one learner, example by example: score, then learn, then judge (SEMANTICS §5, §6).

Deterministic: the same examples, answers and commands in the same order give the same weights, scores and decisions, however
they were cut into reads. It touches neither the log nor a clock for a decision; `stages/train` commits what it gives.

One round, from top to bottom: every model scores the round's examples and the anchors among them; each row is weighed for the
candidate on trial; drift is looked for; the learner learns the fresh examples with replayed ones; a candidate is cut when due.

A sign that documents changed closes no round: rounds go by count alone, and documents that change with every row would make
each row a round. Examples that wait for their round, and cite what changed, are scored and learned once, as they came; they
are neither replayed nor anchors afterwards.
"""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import cast

import msgspec

from headrace.events import topics
from headrace.events.control import Control
from headrace.events.dead_letter import DeadLetter
from headrace.events.decision import Command
from headrace.events.example import Example
from headrace.events.score import ModelScore, Score
from headrace.foundation.clock import Clock
from headrace.foundation.errors import CorruptDataError
from headrace.foundation.ids import fraction
from headrace.learning.anchors import AnchorSet
from headrace.learning.drift import DriftDetector
from headrace.learning.fresh import Fresh
from headrace.learning.learner import LEARNER, Learner, SequenceScore
from headrace.learning.majority import MajorityAnswer
from headrace.learning.replay import ReplayBuffer
from headrace.learning.rounds import Round, RoundAssembler
from headrace.log.record import Record
from headrace.models.directory_store import DirectoryStore
from headrace.models.prompt_renderer import PromptRenderer, TooLongError
from headrace.promotion.gate import AnchorDifference, GateOptions, PromotionGate, RowDifference, Verdict
from headrace.promotion.metric import MetricKind, choose_metric, difference, row_metric
from headrace.promotion.registry import Registry, Version
from headrace.stages.train import documents_response
from headrace.stages.train.drift_response import respond
from headrace.stages.train.loop_output import AliasMove, LoopOutput, score_record
from headrace.stages.train.options import TrainOptions
from headrace.stages.train.reask import Reasker

SERVED, PREVIOUS, CANDIDATE = "served", "previous", "candidate"
METRIC_SAMPLE = 64
"""Answers from which `metric: auto` chooses."""

Scores = dict[str, dict[str, ModelScore]]
"""By slot, then by example id."""


class _Policy(msgspec.Struct, frozen=True):
    """Everything beside the weights that the next step depends on."""

    rounds: bytes
    replay: bytes
    drift: bytes
    anchors: bytes
    majority: bytes
    gate: bytes
    sources: dict[str, Record]
    """By example id: the records of what is not scored yet, without their values."""
    held: list[Fresh]
    metric: str
    first_answers: list[str]
    digests: dict[str, str]
    examples: int
    no_cut_before: int
    next_number: int
    last_loss: float
    outdated: list[str] = []
    credit: int = documents_response.CREDIT
    generations: list[tuple[int, str]] = []
    candidate_knowledge: str = ""


def gate_options(options: TrainOptions) -> GateOptions:
    promotion = options.promotion
    return GateOptions(
        candidate_every=promotion.candidate_every,
        alpha=promotion.alpha,
        max_rows=promotion.max_rows,
        max_drop=promotion.anchors.max_drop,
        max_anchors=promotion.anchors.max,
        probation_rows=promotion.probation_rows,
        approval=promotion.approval,
    )


class FinetuneLoop:
    """One finetuner's learner, replay, anchors, drift detector and gate, stepped by examples."""

    def __init__(
        self,
        options: TrainOptions,
        learner: Learner,
        renderer: PromptRenderer,
        versions: DirectoryStore,
        reasker: Reasker,
        clock: Clock,
    ) -> None:
        self._options, self._learner, self._renderer = options, learner, renderer
        self._topic = topics.examples(options.namespace, options.finetuner)
        self._versions, self._reasker, self._clock = versions, reasker, clock
        self.round_size = options.learner.batch_size * options.learner.gradient_accumulation_steps
        self._rounds = RoundAssembler(self.round_size)
        self._replay = ReplayBuffer(options.replay.capacity, options.seed)
        self._anchors = AnchorSet(options.promotion.anchors.max)
        self._drift = DriftDetector()
        self._majority = MajorityAnswer()
        self._gate = PromotionGate(gate_options(options))
        self._sources: dict[str, Record] = {}
        self._held: list[Fresh] = []
        self._metric: MetricKind | None = None if options.promotion.metric == "auto" else options.promotion.metric
        self._first_answers: list[str] = []
        self._digests: dict[str, str] = {}
        self._no_cut_before = 0
        self._next_number = 1
        self._outdated: set[str] = set()
        self._credit = documents_response.CREDIT
        self._generations: list[tuple[int, str]] = []
        self._candidate_knowledge = ""
        self.examples = 0
        self.last_loss = 0.0

    @property
    def at_round_boundary(self) -> bool:
        """Whether every example so far is scored: where a person's command is taken up."""
        return not self._rounds.pending and not self._held

    def scored_before(self, offset: int) -> int:
        """Every example before the returned offset is scored; `offset`: the next to be taken. The others wait for their round."""
        return min((record.offset for record in self._sources.values()), default=offset)

    def progress(self) -> dict[str, int | float | str]:
        """Figures for people."""
        return {
            "examples": self.examples,
            "rounds": self._rounds.next_round,
            "loss": round(self.last_loss, 4),
            "served": self._gate.served,
            "onTrial": self._gate.on_trial or "",
            "onProbation": self._gate.on_probation or "",
            "awaiting": self._gate.awaiting or "",
            "replay": len(self._replay),
            "anchors": len(self._anchors),
            "scoreFast": round(self._drift.fast, 4),
            "scoreSlow": round(self._drift.slow, 4),
        }

    def renewals(self) -> list[int]:
        """Where the examples were renewed that are still learned from or compared on."""
        return sorted({item.renewed_at for item in (*self._replay.items, *self._anchors.items())} - {-1})

    def weights_sha256(self) -> str:
        return self._learner.weights_sha256(LEARNER)

    # Beginning, saving, restoring

    def start(self, registry: Registry) -> None:
        """A fresh start from the base, against whatever is served."""
        self._digests = {version.name: version.digest for version in registry.versions}
        self._next_number = registry.next_number
        self._gate = PromotionGate(gate_options(self._options), registry.served)
        self._load(SERVED, registry.served)

    def save(self, path: Path) -> None:
        """Writes everything that the next step depends on."""
        self._learner.save(path / "learner")
        policy = _Policy(
            self._rounds.state(), self._replay.state(), self._drift.state(), self._anchors.state(), self._majority.state(),
            self._gate.state(), self._sources, self._held, self._metric or "", self._first_answers, self._digests,
            self.examples, self._no_cut_before, self._next_number, self.last_loss,
            sorted(self._outdated), self._credit, self._generations, self._candidate_knowledge,
        )  # fmt: skip
        (path / "policy.msgpack").write_bytes(msgspec.msgpack.encode(policy))

    def restore(self, path: Path) -> None:
        """Reads what `save` wrote. CorruptDataError where it is not whole."""
        try:
            policy = msgspec.msgpack.decode((path / "policy.msgpack").read_bytes(), type=_Policy)
        except (OSError, msgspec.MsgspecError) as error:
            raise CorruptDataError(f"{path / 'policy.msgpack'} is not whole: {error}") from error
        self._learner.restore(path / "learner")
        self._rounds = RoundAssembler.from_state(policy.rounds)
        self._replay = ReplayBuffer.from_state(policy.replay)
        self._drift = DriftDetector.from_state(policy.drift)
        self._anchors = AnchorSet.from_state(policy.anchors)
        self._majority = MajorityAnswer.from_state(policy.majority)
        self._gate = PromotionGate.from_state(policy.gate)
        self._sources, self._held, self._first_answers = policy.sources, policy.held, policy.first_answers
        self._metric = cast("MetricKind | None", policy.metric or None)
        self._digests, self.examples = policy.digests, policy.examples
        self._no_cut_before, self._next_number, self.last_loss = (
            policy.no_cut_before,
            policy.next_number,
            policy.last_loss,
        )
        self._outdated, self._credit = set(policy.outdated), policy.credit
        self._generations, self._candidate_knowledge = policy.generations, policy.candidate_knowledge
        self._load(SERVED, self._gate.served)
        if previous := self._gate.on_probation:
            self._load(PREVIOUS, previous)

    def _load(self, slot: str, version: str) -> None:
        self._learner.load(slot, self._versions.path(self._digests[version]))

    # The stream

    def take(self, record: Record, example: Example) -> LoopOutput:
        """The next example, in the order of its topic."""
        output = LoopOutput()
        item = self._tokenize(record, example, output)
        if item is None:
            return output
        self._sources[item.example_id] = msgspec.structs.replace(record, value=b"")
        self._credit = min(self._credit + 1, documents_response.CREDIT)
        if len(self._first_answers) < METRIC_SAMPLE:
            self._first_answers.append(item.answer)
        if self._anchors.takes(example.root_id):
            self._held.append(item)
            return output
        closed = self._rounds.add(item, complete=example.index == example.count - 1)
        if closed:
            self._learn_round(closed, output)
        return output

    def end_of_input(self) -> LoopOutput:
        """Learns the partial round, so that everything taken is learned and scored."""
        output = LoopOutput()
        if closed := self._rounds.flush():
            self._learn_round(closed, output)
        if self._held:
            held, self._held = self._held, []
            self._score(held, {item.example_id for item in held}, output)
        return output

    def documents_changed(self, offset: int, sign: Control) -> LoopOutput:
        """What was learned from other versions of the documents is asked again, or let go; what comes has their new ones."""
        output = LoopOutput()
        if sign.generation and sign.generation != documents_response.generation_at(self._generations, offset):
            self._generations.append((offset, sign.generation))
        current = documents_response.current_versions(sign)
        waiting = (*self._rounds.pending, *self._held)
        self._outdated |= {item.example_id for item in waiting if item.outdated_by(current)}
        limits = (self._options.input_max, self._options.output_max)
        response = documents_response.respond(
            offset, sign, self._replay, self._anchors, self._reasker, self._renderer, limits, self._credit
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
            self._answers_changed(offset, output)
        return output

    def take_up(self, command: Command, registry: Registry, offset: int) -> LoopOutput:
        """A person's promotion or roll-back, whose alias has moved already; after a roll-back the learner restarts from there."""
        self._digests |= {version.name: version.digest for version in registry.versions}
        verdict = self._gate.take_up(command, offset)
        output = LoopOutput(decisions=list(verdict.decisions), must_commit=True)
        self._drop_frozen()
        self._load(SERVED, self._gate.served)
        if previous := self._gate.on_probation:
            self._load(PREVIOUS, previous)
        if command.action == "rollback":
            self._load(LEARNER, self._gate.served)
        return output

    def _tokenize(self, record: Record, example: Example, output: LoopOutput) -> Fresh | None:
        options = self._options
        try:
            sequence = self._renderer.example(
                example.messages, example.answer, passages=example.passages,
                input_max=options.input_max, output_max=options.output_max,
            )  # fmt: skip
        except TooLongError as error:
            payload = record.value.decode(errors="backslashreplace")[: 64 << 10]
            output.dead.append(
                DeadLetter(
                    "train",
                    "too_long",
                    str(error),
                    record.id,
                    payload,
                    source_topic=self._topic,
                    source_offset=record.offset,
                )
            )
            return None
        documents = tuple(passage.document for passage in example.passages)
        versions = tuple(passage.version for passage in example.passages)
        return Fresh(record.offset, record.id, example.row_id, sequence, example.answer, documents, versions)

    def _learn_round(self, closed: Round, output: LoopOutput) -> None:
        offset = closed.items[-1].offset
        held = {item.example_id for item in self._held if item.offset <= offset}
        due = [item for item in self._held if item.example_id in held]
        self._held = [item for item in self._held if item.example_id not in held]
        scores = self._score(sorted([*closed.items, *due], key=lambda item: item.offset), held, output)
        self._judge(closed.items, scores, output)
        self._watch_for_drift(closed.items, scores, output)
        self._learn(closed)
        self._cut_when_due(closed, output)

    # Score

    def _slots(self) -> list[str]:
        slots = [LEARNER, SERVED]
        slots += [PREVIOUS] if self._gate.on_probation else []
        slots += [CANDIDATE] if self._gate.on_trial else []
        return slots

    def _version_of(self, slot: str) -> str:
        names = {SERVED: self._gate.served, PREVIOUS: self._gate.on_probation, CANDIDATE: self._gate.on_trial}
        return names.get(slot) or ""

    def _score(self, items: Sequence[Fresh], held: set[str], output: LoopOutput) -> Scores:
        """What every model makes of the items; every score is a record. Held-out items become anchors."""
        by_slot = {slot: self._score_slot(slot, items) for slot in self._slots()}
        for item in items:
            if item.example_id in held and item.example_id not in self._outdated:
                self._anchors.add(item)
            models = [scored[item.example_id] for scored in by_slot.values() if item.example_id in scored]
            score = Score(
                item.example_id, item.row_id, item.offset, item.answer, self._majority.update(item.answer), models,
                item.example_id in held,
            )  # fmt: skip
            record = score_record(score, self._sources.pop(item.example_id), self._topic)
            output.scores.append((item.offset, record))
        self._outdated -= held
        return by_slot

    def _score_slot(self, slot: str, items: Sequence[Fresh]) -> dict[str, ModelScore]:
        chosen = [item for item in items if slot in (LEARNER, SERVED) or self._is_weighed(item)]
        raw = self._learner.score(slot, [item.sequence for item in chosen])
        return {item.example_id: self._model_score(slot, item, one) for item, one in zip(chosen, raw, strict=True)}

    def _is_weighed(self, item: Fresh) -> bool:
        """Frozen models score a share of the rows where all would cost more than learning does (forward 1, backward 2)."""
        learning = 3 * (1 + self._options.replay.per_fresh) * self._options.learner.epochs
        share = learning / (len(self._slots()) + 1)
        return share >= 1.0 or fraction(item.row_id, "score") < share

    def _model_score(self, slot: str, item: Fresh, score: SequenceScore) -> ModelScore:
        predicted = item.answer if score.exact else self._renderer.decode(score.predicted_ids)
        value = row_metric(self._metric_kind(), item.answer, predicted, score.exact, score.loss)
        return ModelScore(slot, self._version_of(slot), score.exact, score.loss, value)

    def _metric_kind(self) -> MetricKind:
        """`metric: auto` is settled once there are answers enough to tell, or at the first cut; before, as it looks."""
        if self._metric is not None:
            return self._metric
        kind = choose_metric(self._first_answers)
        if len(self._first_answers) >= METRIC_SAMPLE or self._gate.on_trial:
            self._metric = kind
        return kind

    # Judge

    def _judge(self, items: Sequence[Fresh], scores: Scores, output: LoopOutput) -> None:
        """Weighs row after row; once the alias has moved, the round's other scores are of the past."""
        if not self._gate.on_trial and not self._gate.on_probation:
            return
        for _, group in groupby(items, key=lambda item: item.row_id):
            row = list(group)
            difference_of = RowDifference(
                row[0].offset,
                row[-1].offset,
                self._against_served(CANDIDATE, row, scores),
                self._against_served(PREVIOUS, row, scores),
            )
            verdict = self._gate.observe(difference_of, self._anchor_difference if len(self._anchors) else None)
            if verdict:
                self._carry_out(verdict, output)
            if verdict and verdict.kind in ("promoted", "rolled_back"):
                return

    def _against_served(self, slot: str, row: Sequence[Fresh], scores: Scores) -> float | None:
        ids = [item.example_id for item in row]
        if slot not in scores or any(one not in scores[slot] for one in ids):
            return None
        return difference(self._metric_kind(), [scores[slot][one] for one in ids], [scores[SERVED][one] for one in ids])

    def _anchor_difference(self) -> AnchorDifference:
        """Candidate minus served on every anchor as it stands now."""
        items = self._anchors.items()
        new, old = ([*self._score_all(slot, items)] for slot in (CANDIDATE, SERVED))
        return AnchorDifference(difference(self._metric_kind(), new, old), len(items), self._anchors.version)

    def _score_all(self, slot: str, items: Sequence[Fresh]) -> list[ModelScore]:
        raw = self._learner.score(slot, [item.sequence for item in items])
        return [self._model_score(slot, item, one) for item, one in zip(items, raw, strict=True)]

    def _carry_out(self, verdict: Verdict, output: LoopOutput) -> None:
        """Moves the weights as the gate decided."""
        output.decisions += verdict.decisions
        output.must_commit = True
        last = verdict.decisions[-1]
        match verdict.kind:
            case "promoted":
                output.moves.append(AliasMove("promoted", verdict.subject, last.last_offset, self._export(verdict)))
                self._learner.move(SERVED, PREVIOUS)
                self._load(SERVED, verdict.subject)
                self._learner.drop(CANDIDATE)
            case "awaiting_approval":
                output.moves.append(AliasMove("added", verdict.subject, last.last_offset, self._export(verdict)))
                self._learner.drop(CANDIDATE)
            case "rejected":
                self._learner.drop(CANDIDATE)
            case "rolled_back":
                output.moves.append(AliasMove("rolled_back", verdict.subject, last.last_offset))
                self._drop_frozen()
                self._load(SERVED, verdict.subject)
                self._load(LEARNER, verdict.subject)
            case "confirmed":
                self._learner.drop(PREVIOUS)

    def _export(self, verdict: Verdict) -> Version:
        digest = self._versions.put(lambda path: self._learner.export(CANDIDATE, path))
        self._digests[verdict.subject] = digest
        self._next_number += 1
        evidence = verdict.decisions[-1]
        cut = int(evidence.details.get("cut", evidence.first_offset))
        return Version(
            verdict.subject, digest, None, cut, self._clock.now_ms(), self._learner.weights_sha256(CANDIDATE), evidence,
            self._candidate_knowledge,
        )  # fmt: skip

    def _drop_frozen(self) -> None:
        for slot in (PREVIOUS, CANDIDATE):
            if slot in self._learner.slots():
                self._learner.drop(slot)

    # Drift, learning, cutting

    def _watch_for_drift(self, items: Sequence[Fresh], scores: Scores, output: LoopOutput) -> None:
        fell = [item for item in items if self._drift.update(scores[LEARNER][item.example_id].metric)]
        if not fell:
            return
        limits = (self._options.input_max, self._options.output_max)
        response = respond(fell[-1].offset, self._replay, self._anchors, self._reasker, self._renderer, limits)
        output.decisions.append(response.decision)
        output.must_commit = True
        self._learner.rewarm()
        if response.labels_changed:
            self._answers_changed(fell[-1].offset, output)

    def _answers_changed(self, offset: int, output: LoopOutput) -> None:
        """Whoever learned the former answers, or was tried on them, has to wait until the new ones are learned."""
        self._no_cut_before = self.examples + self._options.promotion.candidate_every
        if verdict := self._gate.abandon(offset, "what it was tried on no longer holds: the answers changed"):
            self._carry_out(verdict, output)

    def _learn(self, closed: Round) -> None:
        replayed = round(self._options.replay.per_fresh * len(closed.items))
        fresh = [item.sequence for item in closed.items]
        report = self._learner.learn(
            [
                fresh + [item.sequence for item in self._replay.draw(replayed, closed.number, epoch)]
                for epoch in range(self._options.learner.epochs)
            ]
        )
        self.last_loss = report.loss
        self._replay.add(item for item in closed.items if item.example_id not in self._outdated)
        self._outdated -= {item.example_id for item in closed.items}
        self.examples += len(closed.items)

    def _cut_when_due(self, closed: Round, output: LoopOutput) -> None:
        due = self._gate.learned(len(closed.items))
        if due and self.examples >= self._no_cut_before:
            self._learner.freeze(CANDIDATE)
            self._candidate_knowledge = self._generation_of(closed.items[-1].offset)
            output.decisions.append(self._gate.cut(closed.items[-1].offset, f"v{self._next_number}"))

    def _generation_of(self, offset: int) -> str:
        """Of the newest example learned; generations that came before it are not asked for again."""
        found = documents_response.generation_at(self._generations, offset)
        self._generations = [one for one in self._generations if one[0] >= offset or one[1] == found]
        return found
