"""Simulated lives: how often a candidate that is no better wins, and how soon one that is better does.

The figures for people are in docs/decisions/0013; `benchmarks/promotion_power.py` prints them again.
"""

from collections.abc import Callable

import numpy as np
import pytest

from headrace.promotion.confidence_sequence import first_win
from headrace.promotion.gate import GateOptions, PromotionGate, RowDifference
from headrace.promotion.trial import spent_on

Floats = np.ndarray
Generator = np.random.Generator
Stream = Callable[[Generator, int, int], tuple[Floats, Floats]]
"""(streams, rows) to the differences and each row's expectation given the rows before it, both [streams, rows]."""

ALPHA, STREAMS, ROWS, TRIALS = 0.05, 1000, 2000, 3


def flips(rng: Generator, means: Floats, discordance: float | Floats = 0.2) -> Floats:
    """One model right and the other wrong with probability `discordance`, in favour of the candidate by `means`."""
    drawn = rng.random(means.shape)
    return np.where(drawn < (discordance + means) / 2, 1.0, np.where(drawn < discordance, -1.0, 0.0))


def regimes(rng: Generator, streams: int, rows: int, length: float) -> Floats:
    """Signs that turn after `length` rows on average (a Markov chain): [streams, rows]."""
    start = np.where(rng.random((streams, 1)) < 0.5, 1.0, -1.0)
    return start * np.where(np.cumsum(rng.random((streams, rows)) < 1 / length, axis=1) % 2, 1.0, -1.0)


def independent(rng: Generator, streams: int, rows: int) -> tuple[Floats, Floats]:
    means = np.zeros((streams, rows))
    return flips(rng, means), means


def changing_discordance(rng: Generator, streams: int, rows: int) -> tuple[Floats, Floats]:
    means = np.zeros((streams, rows))
    return flips(rng, means, np.where(regimes(rng, streams, rows, 30) > 0, 0.5, 0.05)), means


def markov_modulated(rng: Generator, streams: int, rows: int) -> tuple[Floats, Floats]:
    """Whose favour it goes in turns every 10 rows on average; over all, nobody's."""
    means = 0.1 * regimes(rng, streams, rows, 10)
    return flips(rng, means), means


def sticky(rng: Generator, streams: int, rows: int) -> tuple[Floats, Floats]:
    """Each difference repeats the one before with probability 0.2."""
    fresh, repeats = flips(rng, np.zeros((streams, rows))), rng.random((streams, rows)) < 0.2
    d = fresh.copy()
    for row in range(1, rows):
        d[:, row] = np.where(repeats[:, row], d[:, row - 1], fresh[:, row])
    means = np.concatenate((np.zeros((streams, 1)), 0.2 * d[:, :-1]), axis=1)
    return d, means


def never_better(rng: Generator, streams: int, rows: int) -> tuple[Floats, Floats]:
    """A mean that moves with time and touches 0 from below."""
    means = np.tile(-0.05 + 0.05 * np.sin(np.arange(rows) / 100), (streams, 1))
    return flips(rng, means), means


def promotions(stream: Stream, seed: int) -> tuple[float, float]:
    """Shares of streams in which any of the candidates wins, and in which one wins whose running mean was not above 0."""
    rng = np.random.default_rng(seed)
    won, wrong = np.zeros(STREAMS, bool), np.zeros(STREAMS, bool)
    for attempt in range(1, TRIALS + 1):
        d, means = stream(rng, STREAMS, ROWS)
        rows = first_win(d, spent_on(attempt, ALPHA))
        so_far = np.cumsum(means, axis=1)[np.arange(STREAMS), np.maximum(rows - 1, 0)]
        won |= rows > 0
        wrong |= (rows > 0) & (so_far <= 1e-9)
    return float(won.mean()), float(wrong.mean())


@pytest.mark.parametrize("stream", [independent, changing_discordance, markov_modulated, sticky, never_better])
def test_over_1000_null_streams_false_promotions_stay_below_alpha(stream: Stream) -> None:
    """Both ways of counting: any promotion where nobody is better over all, and those with no lead on the rows that were seen."""
    won, wrong = promotions(stream, seed=11)
    assert won <= ALPHA
    assert wrong <= ALPHA


@pytest.mark.parametrize(("gap", "power", "median_rows"), [(0.1, 0.99, 350), (0.05, 0.9, 1100), (0.02, 0.08, None)])
def test_power_of_the_first_candidate_at_a_discordance_of_one_in_five(
    gap: float, power: float, median_rows: int | None
) -> None:
    rng = np.random.default_rng(12)
    rows = first_win(flips(rng, np.full((400, ROWS), gap)), spent_on(1, ALPHA))
    assert (rows > 0).mean() >= power
    if median_rows:
        assert np.median(rows[rows > 0]) <= median_rows
    if gap == 0.02:
        assert (rows > 0).mean() < 0.5, "2,000 rows cannot tell a gap of 0.02; saying otherwise would be wrong"


def lives(gap: float, streams: int, seed: int) -> list[tuple[str, int]]:
    """The first verdict of real gates, early endings included, and its row."""
    rng = np.random.default_rng(seed)
    verdicts: list[tuple[str, int]] = []
    for d in flips(rng, np.full((streams, ROWS), gap)):
        gate = PromotionGate(GateOptions())
        gate.cut(-1, "v1")
        for place, value in enumerate(d.tolist()):
            if verdict := gate.observe(RowDifference(place, place, value)):
                verdicts.append((verdict.kind, place + 1))
                break
    return verdicts


def test_the_gate_wins_where_the_simulation_says_so() -> None:
    verdicts = lives(0.1, 20, seed=13)
    rng = np.random.default_rng(13)
    rows = first_win(flips(rng, np.full((20, ROWS), 0.1)), spent_on(1, ALPHA))
    assert [row for kind, row in verdicts if kind == "promoted"] == rows[
        [kind == "promoted" for kind, _ in verdicts]
    ].tolist()
    assert sum(kind == "promoted" for kind, _ in verdicts) >= 19


def test_ending_hopeless_trials_early_saves_rows_and_loses_few_winners() -> None:
    null = lives(0.0, 20, seed=14)
    assert {kind for kind, _ in null} == {"rejected"}
    assert np.mean([row for _, row in null]) < 1000
    assert sum(kind == "promoted" for kind, _ in lives(0.06, 20, seed=15)) >= 17
