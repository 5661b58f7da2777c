"""Decides, row by row, which version is served: candidates on trial, the anchor test, probation and roll-back (SEMANTICS §6).

Pure: it takes score differences and returns decisions; moving weights and aliases is the stage's work. Every trial has
its own share of alpha (`trial.spent_on`), counted from 1 for each served version. Guarantee: any one version is
wrongly replaced with probability at most alpha; so is the first if no candidate is ever better; and over a whole life the
expected number of wrong promotions is at most alpha x (promotions + 1). "Wrongly": the mean of candidate minus served over the
rows of the trial, each row's in expectation given its past, was not above 0. It certifies the observed stream, not the future.

Options are declared, never restored. How a change affects the guarantee:
- `alpha` is fixed for a trial when it is cut and for a probation when it begins, before any of its rows: a level chosen after
  seeing the evidence would be meaningless. Later trials spend the new alpha / (k (k + 1)), k counting on, so the sum against one
  served version stays below the larger of the two.
- the metric is fixed in the same way: one trial's evidence is about one metric.
- `max_rows`, `candidate_every`, `probation_rows`, `max_drop` apply at once: the bounds hold at all rows simultaneously, so
  when a trial ends without a winner, or how often one begins, may be chosen while monitoring. `max_drop` only ever rejects.
- `approval` applies at once, also to the running trial: it decides who moves the alias, not what is true. A version awaiting
  approval keeps waiting after `manual` has become `auto`.
"""

from collections.abc import Callable
from typing import Literal

import msgspec

from headrace.events.decision import Bound, Command, Decision
from headrace.foundation.errors import CorruptDataError
from headrace.promotion.confidence_sequence import ConfidenceSequence
from headrace.promotion.trial import Probation, Trial, spent_on

VerdictKind = Literal["promoted", "rejected", "awaiting_approval", "rolled_back", "confirmed"]


class GateOptions(msgspec.Struct, frozen=True):
    """The options in SEMANTICS §6's block that the gate uses."""

    candidate_every: int = 256
    """Minimum examples between two cuts; the next cut also waits for the previous trial to end."""
    alpha: float = 0.05
    max_rows: int = 2000
    """Rows after which an undecided trial is lost."""
    max_drop: float = 0.02
    """How far the metric's mean on the anchors may drop."""
    probation_rows: int = 1000
    approval: Literal["auto", "manual"] = "auto"


class RowDifference(msgspec.Struct, frozen=True):
    """One fresh row, scored before it is learned."""

    first_offset: int
    """Metadata of its examples."""
    last_offset: int
    candidate: float | None = None
    """d of candidate minus served; None: no trial, or not scored on this row."""
    previous: float | None = None
    """d of previous minus served; None: no probation, or not scored on this row."""


class AnchorDifference(msgspec.Struct, frozen=True):
    """Candidate minus served on the current anchors."""

    mean: float
    count: int
    version: int
    full: bool = False
    """The set is at its maximum size: it decides, however small."""


class Verdict(msgspec.Struct, frozen=True):
    """What a row decided."""

    kind: VerdictKind
    subject: str
    """promoted, awaiting_approval, confirmed: the version; rejected: the candidate; rolled_back: the version that is served again."""
    decisions: tuple[Decision, ...]
    """Decisions to record, in order."""


class _State(msgspec.Struct, frozen=True):
    served: str
    trial: Trial | None
    probation: Probation | None
    attempts: dict[str, int]
    candidates: int
    since_cut: int
    awaiting: str | None
    awaiting_metric: str = ""


class PromotionGate:
    """The promotion gate of one finetuner."""

    def __init__(self, options: GateOptions, served: str = "v0") -> None:
        """`served`: the currently served version."""
        self._options = options
        self._served = served
        self._trial: Trial | None = None
        self._probation: Probation | None = None
        self._attempts: dict[str, int] = {}
        self._candidates = 0
        self._since_cut = 0
        self._awaiting: str | None = None
        self._awaiting_metric = ""

    def declare(self, options: GateOptions) -> None:
        """Applies the declared options."""
        self._options = options

    @property
    def served(self) -> str:
        return self._served

    @property
    def on_trial(self) -> str | None:
        """The candidate's name, `candidate-N`."""
        return self._trial.candidate if self._trial else None

    @property
    def metric_on_trial(self) -> str:
        """The metric used to judge the candidate; empty: it was cut before metrics were stored."""
        return self._trial.metric if self._trial else ""

    @property
    def metric_on_probation(self) -> str:
        """The same for the previous version."""
        return self._probation.metric if self._probation else ""

    @property
    def on_probation(self) -> str | None:
        """The previous version while it is still being scored."""
        return self._probation.previous if self._probation else None

    @property
    def awaiting(self) -> str | None:
        """The newest version awaiting approval."""
        return self._awaiting

    def learned(self, examples: int) -> bool:
        """Counts fresh examples; True if a candidate should be cut now."""
        self._since_cut += examples
        return self._trial is None and self._since_cut >= self._options.candidate_every

    def cut(self, offset: int, version: str, metric: str = "") -> Decision:
        """Opens the trial of a candidate frozen after the example at `offset`; if it wins, it is named `version`.

        `metric`: the metric of its differences.
        """
        if self._trial:
            raise ValueError(
                f"{self._trial.candidate} is still on trial; a new candidate can be cut once its trial ends"
            )
        attempt = self._attempts[self._served] = self._attempts.get(self._served, 0) + 1
        spent = spent_on(attempt, self._options.alpha)
        self._candidates += 1
        self._since_cut = 0
        self._trial = Trial(
            f"candidate-{self._candidates}", version, offset, attempt, ConfidenceSequence(2 * spent), metric=metric
        )
        return Decision(
            "cut", self._trial.candidate, f"a copy of the learner is on trial against {self._served}", offset, offset,
            details={"served": self._served, "attempt": attempt, "alpha": spent, **({"metric": metric} if metric else {})},
        )  # fmt: skip

    def observe(self, row: RowDifference, anchors: Callable[[], AnchorDifference] | None = None) -> Verdict | None:
        """Takes one row; gives at most one verdict, probation's before the trial's.

        `anchors` is called only if the trial is won, to score candidate and served on the anchors; None: there are none.
        """
        if self._probation and row.previous is not None:
            self._probation.observe(row.previous, row.first_offset, row.last_offset)
        if self._trial and row.candidate is not None:
            self._trial.observe(row.candidate, row.first_offset, row.last_offset)
        return self._judge_probation() or self._judge_trial(anchors)

    def abandon(self, offset: int, reason: str) -> Verdict | None:
        """Ends the trial without a winner because its basis has changed (drift, a new learner). Its alpha stays spent."""
        trial = self._trial
        if trial is None:
            return None
        trial.last_offset = max(trial.last_offset, offset)
        return self._reject(trial, reason)

    def take_up(self, command: Command, offset: int) -> Verdict:
        """Records a manual promotion or roll-back, whose alias has already moved; any trial and probation end.

        A version that won its trial and was awaiting approval goes on probation; any other manual decision is final.
        """
        kind: VerdictKind = "promoted" if command.action == "promote" else "rolled_back"
        ended = self.abandon(offset, f"a person moved the alias to {command.version}")
        former, approved = self._served, kind == "promoted" and command.version == self._awaiting
        self._serve(command.version, probation_of=former if approved else None, metric=self._awaiting_metric)
        decision = Decision(
            kind, command.version, command.reason or "a person's decision", offset, offset, manual=True,
            details={"served": command.version, "before": former, "approved": approved},
        )  # fmt: skip
        return Verdict(kind, command.version, (*(ended.decisions if ended else ()), decision))

    def _judge_probation(self) -> Verdict | None:
        probation = self._probation
        if probation is None or not probation.evidence.rows:
            return None
        if probation.evidence.above(0.0):
            return self._roll_back(probation)
        if probation.evidence.rows < self._options.probation_rows:
            return None
        self._probation = None
        reason = f"{probation.previous} was not shown to be better in {probation.evidence.rows} rows"
        return self._verdict("confirmed", self._served, probation, reason)

    def _roll_back(self, probation: Probation) -> Verdict:
        fallen = self._served
        ended = self.abandon(probation.last_offset, f"its parent {fallen} was rolled back")
        self._serve(probation.previous)
        reason = f"{probation.previous} scores better than its replacement {fallen}"
        verdict = self._verdict("rolled_back", probation.previous, probation, reason, details={"fallen": fallen})
        return msgspec.structs.replace(verdict, decisions=(*(ended.decisions if ended else ()), *verdict.decisions))

    def _judge_trial(self, anchors: Callable[[], AnchorDifference] | None) -> Verdict | None:
        trial = self._trial
        if trial is None:
            return None
        if trial.won:
            return self._judge_anchors(trial, anchors() if anchors else None)
        if trial.evidence.rows >= self._options.max_rows:
            return self._reject(trial, f"not shown to be better in {trial.evidence.rows} rows")
        if trial.hopeless(self._options.max_rows):
            return self._reject(trial, f"no longer likely to win within {self._options.max_rows} rows")
        return None

    def _judge_anchors(self, trial: Trial, anchors: AnchorDifference | None) -> Verdict:
        """The mean over the anchors is a census of a fixed set, known exactly, and is compared directly (docs/decisions/0014)."""
        if anchors is not None and self._decides(anchors) and anchors.mean <= -self._options.max_drop:
            reason = f"better on the stream, but {-anchors.mean:.3f} worse on {anchors.count} anchors"
            return self._reject(trial, reason, anchors)
        self._trial = None
        if self._options.approval == "manual":
            self._awaiting, self._awaiting_metric = trial.version, trial.metric
            reason = f"better than {self._served}; awaiting manual approval"
            return self._verdict("awaiting_approval", trial.version, trial, reason, anchors=anchors)
        reason = f"better than {self._served} over {trial.evidence.rows} rows"
        verdict = self._verdict("promoted", trial.version, trial, reason, anchors=anchors)
        self._serve(trial.version, probation_of=self._served, metric=trial.metric)
        return verdict

    def _decides(self, anchors: AnchorDifference) -> bool:
        """Whether the set is full, or so large that one anchor weighs at most half of `max_drop`."""
        if anchors.count < 1:
            return False
        return anchors.full or anchors.count * self._options.max_drop >= 2

    def _reject(self, trial: Trial, reason: str, anchors: AnchorDifference | None = None) -> Verdict:
        self._trial = None
        return self._verdict("rejected", trial.candidate, trial, reason, anchors=anchors)

    def _serve(self, version: str, *, probation_of: str | None = None, metric: str = "") -> None:
        """Switches to another version; remembers the attempts of versions that may be served again."""
        alpha = 2 * self._options.alpha
        kept = {self._served, version}
        self._probation = Probation(probation_of, ConfidenceSequence(alpha), metric=metric) if probation_of else None
        self._served = version
        self._awaiting, self._awaiting_metric = None, ""
        self._attempts = {name: count for name, count in self._attempts.items() if name in kept}

    def _verdict(
        self,
        kind: VerdictKind,
        subject: str,
        case: Trial | Probation,
        reason: str,
        *,
        details: dict[str, str | float | int | bool] | None = None,
        anchors: AnchorDifference | None = None,
    ) -> Verdict:
        facts: dict[str, str | float | int | bool] = {"served": self._served, **(details or {})}
        first = case.first_offset
        if isinstance(case, Trial):
            facts |= {
                "candidate": case.candidate,
                "version": case.version,
                "attempt": case.attempt,
                "cut": case.cut_offset,
            }
            first = case.cut_offset if first < 0 else first
        if anchors is not None:
            facts |= {"anchors": anchors.count, "anchorsDecided": self._decides(anchors)}
        decision = Decision(
            kind, subject, reason, first, max(first, case.last_offset), case.evidence.bound(),
            None if anchors is None else census(anchors), anchors.version if anchors else 0, details=facts,
        )  # fmt: skip
        return Verdict(kind, subject, (decision,))

    def state(self) -> bytes:
        return msgspec.msgpack.encode(
            _State(self._served, self._trial, self._probation, self._attempts, self._candidates, self._since_cut,
                   self._awaiting, self._awaiting_metric)
        )  # fmt: skip

    @classmethod
    def from_state(cls, data: bytes, options: GateOptions) -> "PromotionGate":
        """`options` are declared, so they do not come from the state."""
        try:
            state = msgspec.msgpack.decode(data, type=_State)
        except msgspec.MsgspecError as error:
            raise CorruptDataError(f"the state of the promotion gate does not parse: {error}") from error
        gate = cls(options, state.served)
        gate._trial, gate._probation, gate._attempts = state.trial, state.probation, state.attempts
        gate._candidates, gate._since_cut = state.candidates, state.since_cut
        gate._awaiting, gate._awaiting_metric = state.awaiting, state.awaiting_metric
        return gate


def census(anchors: AnchorDifference) -> Bound:
    """A mean over all of a finite set has no error: lower and upper are the mean, at alpha 0."""
    return Bound(anchors.mean, anchors.mean, anchors.mean, anchors.count, 0.0)
