"""What "better" means for a finetuner: a row's score in [0, 1], and two models' difference on a row in [-1, 1]."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Literal, cast

from headrace.events.score import ModelScore

MetricKind = Literal["fields", "exact", "loss"]
MetricChoice = Literal["auto", "fields", "exact", "loss"]
"""The metrics that can be declared."""

CLOSED_WORDS = 8
CLOSED_CHARACTERS = 64
"""A closed answer is short in both: words for languages that separate them, characters for those that do not."""
CLOSED_DISTINCT = 0.5
"""… and there are at most half as many distinct answers as answers."""


def choose_metric(answers: Sequence[str]) -> MetricKind:
    """Resolves `metric: auto` from the first answers: JSON objects, short closed answers, or free text. ValueError if there are none."""
    if not answers:
        raise ValueError("choosing a metric needs at least one answer")
    if all(_object(answer) is not None for answer in answers):
        return "fields"
    short = all(len(answer.split()) <= CLOSED_WORDS and len(answer) <= CLOSED_CHARACTERS for answer in answers)
    few = len(set(answers)) <= max(1.0, CLOSED_DISTINCT * len(answers))
    return "exact" if short and few else "loss"


def row_metric(kind: MetricKind, answer: str, predicted: str, exact: bool, loss: float) -> float:
    """One example's score in [0, 1]; higher is better.

    `fields`: share of the fields, of the answer and the prediction together, that agree; a prediction that is not a JSON object
    has none. `exact`: 1 or 0. `loss` (nats per answer token): exp(-loss), the geometric mean of the tokens' probabilities.
    """
    if kind == "loss":
        return _probability(loss)
    if exact or kind == "exact":
        return float(exact)
    return _agreement(_object(answer), _object(predicted))


def difference(kind: MetricKind, candidate: Sequence[ModelScore], served: Sequence[ModelScore]) -> float:
    """The row's d in [-1, 1]: candidate minus served, averaged over the row's examples, in the same order.

    `loss`: served's nats per answer token minus the candidate's, clipped to [-1, 1] per example: a lead of one nat (a factor of
    e in every token's probability) counts in full, and no single example counts for more.
    """
    if not candidate or len(candidate) != len(served):
        raise ValueError(f"both models must score every example of a row: {len(candidate)} and {len(served)} scores")
    pairs = zip(candidate, served, strict=True)
    if kind == "loss":
        leads = [min(1.0, max(-1.0, _finite(old.loss) - _finite(new.loss))) for new, old in pairs]
    else:
        leads = [new.metric - old.metric for new, old in pairs]
    return sum(leads) / len(leads)


def _probability(loss: float) -> float:
    return math.exp(-max(0.0, _finite(loss)))


def _finite(loss: float) -> float:
    """A model that diverged (NaN, infinite) gets the worst possible value."""
    return 1e6 if math.isnan(loss) else min(1e6, loss)


def _object(text: str) -> Mapping[str, object] | None:
    try:
        parsed: object = json.loads(text)
    except ValueError:
        return None
    return cast("dict[str, object]", parsed) if isinstance(parsed, dict) else None


def _agreement(answer: Mapping[str, object] | None, predicted: Mapping[str, object] | None) -> float:
    if answer is None or predicted is None:
        return 0.0
    names = answer.keys() | predicted.keys()
    missing = object()
    agreed = sum(answer.get(name, missing) == predicted.get(name, missing) for name in names)
    return agreed / len(names) if names else 1.0
