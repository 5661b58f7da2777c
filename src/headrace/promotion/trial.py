"""One candidate against the served version, and one former version against its successor: evidence, row by row."""

import math

import msgspec

from headrace.promotion.confidence_sequence import ConfidenceSequence, log_evidence

CHECK_EVERY = 64
"""Rows between checks whether a trial can still be won."""
OPTIMISM = 2.5
"""Standard errors by which the rest of a trial is assumed to go better than it has so far."""


def spent_on(attempt: int, alpha: float) -> float:
    """The share of alpha spent on the `attempt`th candidate (from 1) against one served version: alpha / (k (k + 1)).

    They sum to alpha, so by the union bound a version is wrongly replaced with probability at most alpha, however many
    candidates challenge it (docs/decisions/0013).
    """
    return alpha / (attempt * (attempt + 1))


class Trial(msgspec.Struct):
    """A candidate's evidence so far."""

    candidate: str
    """`candidate-N`"""
    version: str
    """The name it gets if it wins, `vN`."""
    cut_offset: int
    attempt: int
    """The number of this candidate against this served version, from 1."""
    evidence: ConfidenceSequence
    """The sequence of candidate minus served; `alpha` is twice what was spent, because only its lower side decides."""
    first_offset: int = -1
    last_offset: int = -1
    won: bool = False
    """The lower bound has been above 0 once; that stays true whatever follows."""
    metric: str = ""
    """The metric of the differences."""

    def observe(self, difference: float, first_offset: int, last_offset: int) -> None:
        self.evidence.update(difference)
        self.won = self.won or self.evidence.above(0.0)
        self.first_offset = first_offset if self.first_offset < 0 else self.first_offset
        self.last_offset = last_offset

    def hopeless(self, max_rows: int) -> bool:
        """Whether it would fail to win by `max_rows` even if the rest went `OPTIMISM` standard errors better than the mean so far.

        Ending a trial early can only lower the probability of a wrong promotion; it makes room for a newer candidate.
        """
        e = self.evidence
        if e.rows < 2 * CHECK_EVERY or e.rows % CHECK_EVERY:
            return False
        hoped = e.total / e.rows + OPTIMISM * math.sqrt(e.variance) / e.rows
        total = e.total + (max_rows - e.rows) * min(1.0, hoped)
        return float(log_evidence(total, e.variance * max_rows / e.rows)) < math.log(2 / e.alpha)


class Probation(msgspec.Struct):
    """The previous version's evidence against its replacement."""

    previous: str
    evidence: ConfidenceSequence
    """The sequence of previous minus served."""
    first_offset: int = -1
    last_offset: int = -1
    metric: str = ""
    """The metric of the differences."""

    def observe(self, difference: float, first_offset: int, last_offset: int) -> None:
        self.evidence.update(difference)
        self.first_offset = first_offset if self.first_offset < 0 else self.first_offset
        self.last_offset = last_offset
