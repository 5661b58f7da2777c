"""The detector is quiet on steady and rising scores and sees a fall within a hundred examples."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.learning.drift import DriftDetector, DriftOptions


def scores(probabilities: np.ndarray, seed: int) -> list[float]:
    return (np.random.default_rng(seed).random(len(probabilities)) < probabilities).astype(float).tolist()


def alarms(stream: list[float]) -> list[int]:
    detector = DriftDetector()
    return [place for place, score in enumerate(stream) if detector.update(score)]


def first_after(places: list[int], change: int) -> int | None:
    return next((place - change + 1 for place in places if place >= change), None)


@pytest.mark.parametrize("level", [0.2, 0.5, 0.8, 0.9, 0.95])
def test_a_steady_score_gives_at_most_one_false_alarm_in_20000_examples(level: float) -> None:
    found = [len(alarms(scores(np.full(20_000, level), seed))) for seed in range(4)]
    assert sum(found) / len(found) <= 1.0


def test_a_fall_from_81_to_56_percent_is_seen_within_about_64_examples() -> None:
    fall = np.r_[np.full(1000, 0.81), np.full(500, 0.56)]
    delays = [first_after(alarms(scores(fall, seed)), 1000) for seed in range(100)]
    seen = [delay for delay in delays if delay is not None]
    assert len(seen) >= 98
    assert np.median(seen) <= 64
    assert np.mean(seen) <= 80


def test_a_fall_is_seen_on_top_of_a_learning_curve_which_itself_raises_no_alarm() -> None:
    curve = np.r_[0.85 * (1 - np.exp(-np.arange(1700) / 500)), np.full(500, 0.57)]
    found = [alarms(scores(curve, seed)) for seed in range(60)]
    assert sum(place < 1700 for places in found for place in places) <= 1
    delays = [delay for places in found if (delay := first_after(places, 1700)) is not None]
    assert len(delays) >= 57
    assert np.median(delays) <= 100


def test_a_fall_raises_one_alarm_and_the_relearning_after_it_none() -> None:
    relearned = 0.56 + 0.25 * (1 - np.exp(-np.arange(2000) / 300))
    curve = np.r_[np.full(1500, 0.81), np.full(60, 0.56), relearned]
    found = [len(alarms(scores(curve, seed))) for seed in range(40)]
    assert np.mean(found) <= 1.1


def test_means_of_fields_are_noisier_by_their_own_variance_only() -> None:
    """Scores that vary less than right or wrong let a smaller fall be seen."""
    rng = np.random.default_rng(0)
    stream = np.r_[rng.normal(0.8, 0.05, 1000), rng.normal(0.7, 0.05, 200)].clip(0, 1).tolist()
    delay = first_after(alarms(stream), 1000)
    assert delay is not None
    assert delay <= 40


def test_a_perfect_score_does_not_make_one_miss_an_alarm() -> None:
    assert alarms([1.0] * 1000 + [0.0] + [1.0] * 1000) == []
    assert first_after(alarms([1.0] * 1000 + [0.0] * 10), 1000) is not None


def test_nothing_is_reported_during_the_warm_up() -> None:
    assert alarms([1.0] * 100 + [0.0] * 100) == []


@given(st.lists(st.floats(0, 1), max_size=300), st.integers(0, 300))
def test_a_restart_changes_nothing(stream: list[float], cut: int) -> None:
    options = DriftOptions(warm_up=20, z=1.0)
    whole, parted = DriftDetector(options), DriftDetector(options)
    for place, score in enumerate(stream):
        parted = DriftDetector.from_state(parted.state(), options) if place == cut else parted
        assert whole.update(score) == parted.update(score)
    assert whole.state() == parted.state()


def test_scores_outside_their_range_are_refused() -> None:
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="must be in"):
            DriftDetector().update(wrong)
    with pytest.raises(ValueError, match="gains"):
        DriftDetector(DriftOptions(fast=0.001))


def test_a_restored_detector_goes_by_the_options_of_now() -> None:
    first = DriftDetector(DriftOptions(warm_up=10_000))
    for _ in range(1000):
        assert not first.update(1.0)
    second = DriftDetector.from_state(first.state(), DriftOptions())
    assert any(second.update(0.0) for _ in range(20))
