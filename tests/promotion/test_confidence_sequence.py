"""The bound holds at every time at once, for streams of every kind, and closes in as rows come."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.promotion.confidence_sequence import ConfidenceSequence, boundary, log_evidence, paths

Floats = np.ndarray
differences = st.lists(st.floats(-1, 1), max_size=60)


def coin_flips(means: Floats, streams: int, seed: int, discordance: float = 0.2) -> Floats:
    """Differences of -1, 0 and 1 with a mean that may change from row to row: [streams, rows]."""
    drawn = np.random.default_rng(seed).random((streams, len(means)))
    better = (discordance + means) / 2
    return np.where(drawn < better, 1.0, np.where(drawn < discordance, -1.0, 0.0))


def ever_missed(d: Floats, means: Floats, alpha: float) -> float:
    """Share of streams whose running mean of expectations leaves the two-sided interval at any row."""
    totals, variances = paths(d)
    error = totals - np.cumsum(means, axis=-1)
    level = math.log(2 / alpha)
    missed = (log_evidence(error, variances) >= level) | (log_evidence(-error, variances) >= level)
    return float(missed.any(axis=1).mean())


@pytest.mark.parametrize("mean", [0.0, 0.1, -0.15])
def test_a_fixed_mean_is_ever_left_in_at_most_alpha_of_the_streams(mean: float) -> None:
    means = np.full(1000, mean)
    assert ever_missed(coin_flips(means, 500, seed=1), means, alpha=0.1) <= 0.1


def test_a_mean_that_changes_with_time_is_covered_too() -> None:
    means = 0.15 * np.sin(np.arange(1000) / 60)
    assert ever_missed(coin_flips(means, 500, seed=2), means, alpha=0.1) <= 0.1


def test_an_expectation_that_depends_on_the_past_is_covered() -> None:
    """What is covered is the mean of each row's expectation given the rows before it, whatever rule makes it."""
    rng = np.random.default_rng(3)
    d, means, last = np.zeros((400, 800)), np.zeros((400, 800)), np.zeros(400)
    for row in range(800):
        means[:, row] = 0.2 * np.sign(last) * (0.5 + 0.5 * (row % 2))
        last = np.where(rng.random(400) < (1 + means[:, row]) / 2, 1.0, -1.0) * (rng.random(400) < 0.5)
        d[:, row] = last
    assert ever_missed(d, means * 0.5, alpha=0.1) <= 0.1


def test_the_boundary_is_not_a_loose_one() -> None:
    """At 1,000 rows of variance 0.2 and one side at 2.5 % the radius is within 1.8 of the fixed-time 1.96 standard errors."""
    radius = float(boundary(200.0, 0.025)) / 1000
    assert 1.2 < radius / (1.96 * math.sqrt(0.2 / 1000)) < 1.8


@given(differences, st.floats(0.001, 0.5))
def test_the_interval_holds_the_mean_and_stays_in_range(ds: list[float], alpha: float) -> None:
    sequence = ConfidenceSequence(alpha)
    sequence.update_all(ds)
    bound = sequence.bound()
    assert -1.0 <= bound.lower <= bound.mean <= bound.upper <= 1.0
    assert bound.rows == len(ds)


@given(differences, differences)
def test_row_by_row_and_at_once_agree(first: list[float], second: list[float]) -> None:
    one, many = ConfidenceSequence(0.05), ConfidenceSequence(0.05)
    for d in first + second:
        one.update(d)
    many.update_all(first)
    many.update_all(second)
    assert many.rows == one.rows
    assert many.variance == pytest.approx(one.variance, abs=1e-9)
    assert many.bound().lower == pytest.approx(one.bound().lower, abs=1e-6)


@settings(max_examples=50)
@given(differences.filter(bool), st.floats(-0.9, 0.9))
def test_above_says_what_the_lower_bound_says(ds: list[float], mean: float) -> None:
    sequence = ConfidenceSequence(0.2)
    sequence.update_all(ds)
    lower = sequence.bound().lower
    if abs(lower - mean) > 1e-6 and lower > -1.0:
        assert sequence.above(mean) == (lower > mean)


@given(differences)
def test_swapping_the_two_models_mirrors_the_interval(ds: list[float]) -> None:
    one, other = ConfidenceSequence(0.05), ConfidenceSequence(0.05)
    one.update_all(ds)
    other.update_all([-d for d in ds])
    assert one.bound().lower == pytest.approx(-other.bound().upper, abs=1e-9)


def test_differences_outside_the_range_are_refused() -> None:
    for wrong in (1.5, float("nan")):
        with pytest.raises(ValueError, match="must be in"):
            ConfidenceSequence(0.05).update(wrong)
        with pytest.raises(ValueError, match="must be in"):
            ConfidenceSequence(0.05).update_all([0.0, wrong])


def test_the_boundary_inverts_the_evidence() -> None:
    variances = np.array([0.0, 1.0, 30.0, 1000.0])
    for alpha in (0.5, 0.025, 1e-6):
        assert np.allclose(log_evidence(boundary(variances, alpha), variances), math.log(1 / alpha), atol=1e-6)
