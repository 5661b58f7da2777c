"""Every model's result on examples before they are learned."""

from collections.abc import Callable, Sequence

from headrace.events.score import ModelScore, Score
from headrace.foundation.ids import fraction
from headrace.learning.fresh import Fresh
from headrace.learning.judge import SERVED, Judge, Scored, Scores
from headrace.learning.learner import LEARNER, Learner, SequenceScore
from headrace.learning.options import LearningOptions


class Scoring:
    """The learner, and every frozen model that the judge names."""

    def __init__(self, learner: Learner, decode: Callable[[Sequence[int]], str]) -> None:
        """`decode`: token ids to text."""
        self._learner, self._decode = learner, decode

    def round(self, items: Sequence[Fresh], frozen: Sequence[str], options: LearningOptions) -> Scores:
        """The learner and the served model score everything; other frozen models score a sample of the rows if scoring all would cost
        more than learning (forward 1, backward 2).
        """
        learning = 3 * (1 + options.replay.per_fresh) * options.learner.epochs
        share = learning / (len(frozen) + 2)
        weighed = [item for item in items if share >= 1.0 or fraction(item.row_id, "score") < share]
        return {slot: self.slot(slot, items if slot in (LEARNER, SERVED) else weighed) for slot in (LEARNER, *frozen)}

    def slot(self, slot: str, items: Sequence[Fresh]) -> dict[str, Scored]:
        """One model's results on the examples, by example id."""
        raw = self._learner.score(slot, [item.sequence for item in items])
        return {item.example_id: self._scored(item, one) for item, one in zip(items, raw, strict=True)}

    def _scored(self, item: Fresh, score: SequenceScore) -> Scored:
        predicted = item.answer if score.exact else self._decode(score.predicted_ids)
        return Scored(score.exact, score.loss, predicted)


def score_of(item: Fresh, scores: Scores, judge: Judge, *, majority_exact: bool, anchor: bool) -> Score:
    """The record of every model's result on one example."""
    versions = judge.frozen()
    models = [
        ModelScore(slot, versions.get(slot, ""), one.exact, one.loss, judge.metric(item.answer, one))
        for slot, scored in scores.items()
        if (one := scored.get(item.example_id))
    ]
    return Score(item.example_id, item.row_id, item.offset, item.answer, majority_exact, models, anchor)
