"""Judges the learner's candidates by promotion's gate, and moves slots and version directories as it decides."""

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby

import msgspec

from headrace.events.decision import Command, Decision
from headrace.events.score import ModelScore
from headrace.foundation.clock import Clock
from headrace.learning.anchors import AnchorSet
from headrace.learning.fresh import Fresh
from headrace.learning.judge import CANDIDATE, PREVIOUS, SERVED, Scored, Scores
from headrace.learning.learner import LEARNER, Learner
from headrace.learning.scoring import Scoring
from headrace.models.directory_store import DirectoryStore
from headrace.promotion.gate import AnchorDifference, GateOptions, PromotionGate, RowDifference, Verdict
from headrace.promotion.metric import MetricChoice, MetricKind, choose_metric, difference, row_metric
from headrace.promotion.registry import Registry, Version
from headrace.stages.train.loop_output import AliasMove

METRIC_SAMPLE = 64
"""Answers from which `metric: auto` chooses."""


class JudgingState(msgspec.Struct, frozen=True):
    """What its next verdict depends on beside the frozen weights. No option is in it."""

    gate: bytes
    metric: str
    """What `auto` has chosen for good; empty: nothing yet."""
    first_answers: list[str]
    digests: dict[str, str]
    no_cut_before: int
    next_number: int
    candidate_knowledge: str = ""


class Judging:
    """Implements `learning.judge.Judge` for one finetuner."""

    def __init__(
        self, options: GateOptions, metric: MetricChoice, learner: Learner, versions: DirectoryStore, clock: Clock
    ) -> None:
        self._options = options
        self._declared_metric: MetricChoice = metric
        self._learner, self._versions, self._clock = learner, versions, clock
        self._gate = PromotionGate(options)
        self._chosen: MetricKind | None = None
        self._first_answers: list[str] = []
        self._digests: dict[str, str] = {}
        self._no_cut_before = 0
        self._next_number = 1
        self._knowledge = ""
        self._moves: list[AliasMove] = []
        self._anchors: Callable[[], AnchorSet] | None = None
        self._scoring: Scoring | None = None

    def compare_on(self, anchors: Callable[[], AnchorSet], scoring: Scoring) -> None:
        """Names what a winner is compared on with what is served."""
        self._anchors, self._scoring = anchors, scoring

    def declare(self, options: GateOptions, metric: MetricChoice) -> bool:
        """Takes over what is declared now. True: scores mean something else from here; trials that run keep their metric."""
        self._options = options
        self._gate.declare(options)
        before = self._kind() if self._first_answers else None
        if metric != self._declared_metric:
            self._declared_metric, self._chosen = metric, None
        return before is not None and before != self._kind()

    @property
    def gate(self) -> PromotionGate:
        return self._gate

    def moves(self) -> list[AliasMove]:
        """What the verdicts since the last call do to the registry."""
        given, self._moves = self._moves, []
        return given

    def progress(self) -> dict[str, int | float | str]:
        """Figures for people."""
        return {
            "served": self._gate.served,
            "onTrial": self._gate.on_trial or "",
            "onProbation": self._gate.on_probation or "",
            "awaiting": self._gate.awaiting or "",
        }

    # Beginning, saving, restoring

    def start(self, registry: Registry) -> None:
        """Judges against whatever is served."""
        self._digests = {version.name: version.digest for version in registry.versions}
        self._next_number = registry.next_number
        self._gate = PromotionGate(self._options, registry.served)
        self._load(SERVED, registry.served)

    def state(self) -> JudgingState:
        return JudgingState(
            self._gate.state(), self._chosen or "", self._first_answers, self._digests, self._no_cut_before,
            self._next_number, self._knowledge,
        )  # fmt: skip

    def restore(self, state: JudgingState) -> None:
        """Puts back what was learned about the candidates; the options are those it was opened with."""
        self._gate = PromotionGate.from_state(state.gate, self._options)
        self._chosen = msgspec.convert(state.metric, MetricKind) if state.metric else None
        self._first_answers, self._digests = list(state.first_answers), dict(state.digests)
        self._no_cut_before, self._next_number = state.no_cut_before, state.next_number
        self._knowledge = state.candidate_knowledge
        self._load_served()

    def needed(self) -> list[str]:
        """Directories of the versions that its slots hold."""
        names = {self._gate.served, self._gate.on_probation} - {None}
        return sorted(self._digests[name] for name in names if name)

    def take_up(self, command: Command, registry: Registry, offset: int) -> list[Decision]:
        """A person's promotion or roll-back, whose alias has moved already; after a roll-back the learner restarts from there."""
        self._digests |= {version.name: version.digest for version in registry.versions}
        verdict = self._gate.take_up(command, offset)
        self._drop_frozen()
        self._load_served()
        if command.action == "rollback":
            self._load(LEARNER, self._gate.served)
        return list(verdict.decisions)

    def _load_served(self) -> None:
        self._load(SERVED, self._gate.served)
        if previous := self._gate.on_probation:
            self._load(PREVIOUS, previous)

    def _load(self, slot: str, version: str) -> None:
        self._learner.load(slot, self._versions.path(self._digests[version]))

    # Scores

    def frozen(self) -> Mapping[str, str]:
        names = {SERVED: self._gate.served, PREVIOUS: self._gate.on_probation, CANDIDATE: self._gate.on_trial}
        return {slot: name for slot, name in names.items() if name}

    def answered(self, answer: str) -> None:
        if len(self._first_answers) < METRIC_SAMPLE:
            self._first_answers.append(answer)

    def metric(self, answer: str, scored: Scored) -> float:
        return row_metric(self._kind(), answer, scored.predicted, scored.exact, scored.loss)

    def _kind(self) -> MetricKind:
        """`auto` is settled once there are answers enough to tell, or at the first cut; before, as it looks."""
        if self._declared_metric != "auto":
            return self._declared_metric
        if self._chosen is not None:
            return self._chosen
        kind = choose_metric(self._first_answers)
        if len(self._first_answers) >= METRIC_SAMPLE or self._gate.on_trial:
            self._chosen = kind
        return kind

    # Verdicts

    def weigh(self, items: Sequence[Fresh], scores: Scores) -> list[Decision]:
        """Row after row; once the alias has moved, the round's other scores are of the past."""
        decisions: list[Decision] = []
        if not self._gate.on_trial and not self._gate.on_probation:
            return decisions
        for _, group in groupby(items, key=lambda item: item.row_id):
            row = list(group)
            verdict = self._gate.observe(
                RowDifference(
                    row[0].offset,
                    row[-1].offset,
                    self._against_served(CANDIDATE, self._gate.metric_on_trial, row, scores),
                    self._against_served(PREVIOUS, self._gate.metric_on_probation, row, scores),
                ),
                self._anchor_difference if self._anchors and len(self._anchors()) else None,
            )
            if verdict:
                decisions += self._carry_out(verdict)
            if verdict and verdict.kind in ("promoted", "rolled_back"):
                break
        return decisions

    def answers_changed(self, offset: int, examples: int) -> list[Decision]:
        """A candidate that learned the former answers, or was tried on them, waits until the new ones are learned."""
        self._no_cut_before = examples + self._options.candidate_every
        verdict = self._gate.abandon(offset, "what it was tried on no longer holds: the answers changed")
        return self._carry_out(verdict) if verdict else []

    def due(self, learned: int, examples: int) -> bool:
        due = self._gate.learned(learned)
        return due and examples >= self._no_cut_before

    def cut(self, offset: int, knowledge: str) -> Decision:
        self._learner.freeze(CANDIDATE)
        self._knowledge = knowledge
        return self._gate.cut(offset, f"v{self._next_number}", self._kind())

    def _against_served(self, slot: str, metric: str, row: Sequence[Fresh], scores: Scores) -> float | None:
        if slot not in scores or any(one.example_id not in scores[slot] for one in row):
            return None
        kind = self._kind_of(metric)
        new, old = ([_model_score(kind, item, scores[of][item.example_id]) for item in row] for of in (slot, SERVED))
        return difference(kind, new, old)

    def _anchor_difference(self) -> AnchorDifference:
        """Candidate minus served on every anchor as it stands now."""
        assert self._anchors is not None
        assert self._scoring is not None
        anchors, scoring = self._anchors(), self._scoring
        items, kind = anchors.items(), self._kind_of(self._gate.metric_on_trial)
        by_slot = {slot: scoring.slot(slot, items) for slot in (CANDIDATE, SERVED)}
        new, old = (
            [_model_score(kind, item, scored[item.example_id]) for item in items] for scored in by_slot.values()
        )
        return AnchorDifference(difference(kind, new, old), len(items), anchors.version, anchors.full)

    def _kind_of(self, metric: str) -> MetricKind:
        return msgspec.convert(metric, MetricKind) if metric else self._kind()

    def _carry_out(self, verdict: Verdict) -> list[Decision]:
        """Moves the weights as the gate decided."""
        last = verdict.decisions[-1]
        match verdict.kind:
            case "promoted":
                self._moves.append(AliasMove("promoted", verdict.subject, last.last_offset, self._export(verdict)))
                self._learner.move(SERVED, PREVIOUS)
                self._load(SERVED, verdict.subject)
                self._learner.drop(CANDIDATE)
            case "awaiting_approval":
                self._moves.append(AliasMove("added", verdict.subject, last.last_offset, self._export(verdict)))
                self._learner.drop(CANDIDATE)
            case "rejected":
                self._learner.drop(CANDIDATE)
            case "rolled_back":
                self._moves.append(AliasMove("rolled_back", verdict.subject, last.last_offset))
                self._drop_frozen()
                self._load(SERVED, verdict.subject)
                self._load(LEARNER, verdict.subject)
            case "confirmed":
                self._learner.drop(PREVIOUS)
        return list(verdict.decisions)

    def _export(self, verdict: Verdict) -> Version:
        digest = self._versions.put(lambda path: self._learner.export(CANDIDATE, path))
        self._digests[verdict.subject] = digest
        self._next_number += 1
        evidence = verdict.decisions[-1]
        cut = int(evidence.details.get("cut", evidence.first_offset))
        return Version(
            verdict.subject, digest, None, cut, self._clock.now_ms(), self._learner.weights_sha256(CANDIDATE), evidence,
            self._knowledge,
        )  # fmt: skip

    def _drop_frozen(self) -> None:
        for slot in (PREVIOUS, CANDIDATE):
            if slot in self._learner.slots():
                self._learner.drop(slot)


def _model_score(kind: MetricKind, item: Fresh, scored: Scored) -> ModelScore:
    value = row_metric(kind, item.answer, scored.predicted, scored.exact, scored.loss)
    return ModelScore("", "", scored.exact, scored.loss, value)
