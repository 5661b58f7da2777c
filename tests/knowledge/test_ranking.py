"""Scores and fusion keep their promises for any input."""

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.knowledge.ranking import RANK_CONSTANT, Candidate, fuse, idf, term_scores

_RANKINGS = st.lists(st.lists(st.integers(0, 30), unique=True, max_size=12), min_size=1, max_size=4)


def ranking(keys: list[int]) -> list[Candidate]:
    return [Candidate(key, float(len(keys) - place)) for place, key in enumerate(keys)]


def fused(rankings: list[list[int]], limit: int = 100) -> list[Candidate]:
    return fuse([ranking(keys) for keys in rankings], limit)


def test_fusion_adds_reciprocal_ranks() -> None:
    first, second, third = fused([[7, 5], [5, 9]])
    assert (first.key, second.key, third.key) == (5, 7, 9)
    assert first.score == pytest.approx(1 / (RANK_CONSTANT + 2) + 1 / (RANK_CONSTANT + 1))
    assert second.score == pytest.approx(1 / (RANK_CONSTANT + 1))


@given(_RANKINGS, st.randoms(use_true_random=False))
def test_the_order_of_the_rankings_does_not_matter(rankings: list[list[int]], chance: Random) -> None:
    shuffled = list(rankings)
    chance.shuffle(shuffled)
    scores = {one.key: one.score for one in fused(rankings)}
    assert {one.key: one.score for one in fused(shuffled)} == pytest.approx(scores)
    if len(rankings) == 2:
        assert fused(rankings) == fused(shuffled)


@given(_RANKINGS)
def test_everything_that_was_ranked_is_there_once_best_first(rankings: list[list[int]]) -> None:
    found = fused(rankings)
    assert sorted(one.key for one in found) == sorted({key for keys in rankings for key in keys})
    order = [(-one.score, one.key) for one in found]
    assert order == sorted(order)


@given(_RANKINGS, st.integers(0, 20))
def test_a_limit_only_cuts_off(rankings: list[list[int]], limit: int) -> None:
    assert fused(rankings, limit) == fused(rankings)[:limit]


@given(_RANKINGS.filter(lambda rankings: len(rankings[0]) > 1), st.data())
def test_a_better_rank_never_harms(rankings: list[list[int]], data: st.DataObject) -> None:
    place = data.draw(st.integers(1, len(rankings[0]) - 1))
    raised = list(rankings[0])
    key = raised[place]
    raised[place - 1], raised[place] = raised[place], raised[place - 1]

    before = [one.key for one in fused(rankings)]
    after = [one.key for one in fused([raised, *rankings[1:]])]

    assert after.index(key) <= before.index(key)


@given(st.integers(0, 10_000), st.integers(1, 10_000))
def test_rarer_terms_weigh_more_and_none_weighs_less_than_nothing(frequency: int, more: int) -> None:
    chunks = frequency + more
    assert idf(frequency, chunks) > idf(frequency + 1, chunks) - 1e-12
    assert idf(chunks, chunks) > 0


@given(st.integers(0, 50), st.integers(1, 1_000), st.floats(1, 1_000))
def test_more_of_a_term_scores_more_and_a_longer_chunk_less(count: int, length: int, mean: float) -> None:
    counts, lengths = np.array([count, count + 1, count], float), np.array([length, length, length + 10], float)
    less, more, longer = term_scores(counts, lengths, weight=1.5, mean_length=mean)
    assert less < more
    assert longer <= less
