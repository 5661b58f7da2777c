"""What "better" means follows from the answers and stays in its range."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.events.score import ModelScore
from headrace.promotion.metric import MetricKind, choose_metric, difference, row_metric


def score(metric: float, loss: float = 1.0, exact: bool = False) -> ModelScore:
    return ModelScore("served", "v1", exact, loss, metric)


@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        (['{"a": 1}', '{"a": 2, "b": "x"}'], "fields"),
        (["card lost | cards", "fee | money", "fee | money", "card lost | cards"], "exact"),
        (["yes"], "exact"),
        (["The card was lost on Monday, and the bank sent a new one to the address on file."], "loss"),
        ([f"free text {number}" for number in range(100)], "loss"),
        (['{"a": 1}', "not json"] * 4, "exact"),
        (["一" * 100] * 10, "loss"),
    ],
)
def test_auto_looks_at_the_answers(answers: list[str], kind: MetricKind) -> None:
    assert choose_metric(answers) == kind


def test_without_answers_there_is_nothing_to_choose_from() -> None:
    with pytest.raises(ValueError, match="at least one"):
        choose_metric([])


def test_fields_are_the_share_that_agrees_of_both_objects() -> None:
    answer = json.dumps({"intent": "lost", "team": "cards", "n": 1})
    assert row_metric("fields", answer, answer, exact=True, loss=0.0) == 1.0
    assert row_metric("fields", answer, '{"n": 1, "team": "cards", "intent": "fee"}', exact=False, loss=1.0) == 2 / 3
    assert row_metric("fields", answer, '{"n": 1, "made": "up"}', exact=False, loss=1.0) == 1 / 4
    assert row_metric("fields", answer, '{"n": 1', exact=False, loss=1.0) == 0.0
    assert row_metric("fields", "{}", "{}", exact=False, loss=0.0) == 1.0
    assert row_metric("fields", '{"a": null}', '{"b": null}', exact=False, loss=0.0) == 0.0


def test_exact_is_right_or_wrong_and_loss_is_a_probability() -> None:
    assert row_metric("exact", "a", "a", exact=True, loss=9.0) == 1.0
    assert row_metric("exact", "a", "b", exact=False, loss=0.0) == 0.0
    assert row_metric("loss", "a", "b", exact=False, loss=math.log(2)) == pytest.approx(0.5)
    assert row_metric("loss", "a", "b", exact=False, loss=float("nan")) == 0.0


def test_a_row_of_several_examples_is_one_unit() -> None:
    assert difference("exact", [score(1.0), score(0.0)], [score(0.0), score(0.0)]) == 0.5
    with pytest.raises(ValueError, match="both models must score"):
        difference("exact", [score(1.0)], [])
    with pytest.raises(ValueError, match="both models must score"):
        difference("exact", [], [])


def test_a_lead_in_loss_counts_up_to_one_nat_per_token() -> None:
    assert difference("loss", [score(0.0, loss=2.0)], [score(0.0, loss=2.4)]) == pytest.approx(0.4)
    assert difference("loss", [score(0.0, loss=2.0)], [score(0.0, loss=9.0)]) == 1.0
    assert difference("loss", [score(0.0, loss=float("nan"))], [score(0.0, loss=5.0)]) == -1.0
    assert difference("loss", [score(0.0, loss=float("inf"))], [score(0.0, loss=float("nan"))]) == 0.0


@given(
    st.sampled_from(["fields", "exact", "loss"]),
    st.lists(st.tuples(st.floats(0, 1), st.floats(), st.floats(0, 1), st.floats()), min_size=1, max_size=5),
)
def test_every_difference_lies_in_its_range_and_swaps_its_sign(
    kind: MetricKind, rows: list[tuple[float, float, float, float]]
) -> None:
    new, old = [score(m, loss) for m, loss, _, _ in rows], [score(m, loss) for _, _, m, loss in rows]
    d = difference(kind, new, old)
    assert -1.0 <= d <= 1.0
    assert difference(kind, old, new) == pytest.approx(-d)


@given(st.sampled_from(["fields", "exact", "loss"]), st.text(), st.text(), st.booleans(), st.floats())
def test_every_score_lies_between_0_and_1(
    kind: MetricKind, answer: str, predicted: str, exact: bool, loss: float
) -> None:
    assert 0.0 <= row_metric(kind, answer, predicted, exact, loss) <= 1.0
