"""Sequences of many lengths as one: the groups are the cheapest, and nothing is lost."""

from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.learning.torch.packing import Group, by_length, cut_groups, micro_batches
from headrace.models.sequence import TokenSequence

LENGTHS = st.lists(st.integers(1, 12), min_size=1, max_size=8).map(sorted)


def cost(groups: list[Group], call_cost: float) -> float:
    return sum(len(group.lengths) * group.longest**2 + call_cost for group in groups)


def of_length(length: int, answer: int = 1) -> TokenSequence:
    return TokenSequence(tuple(range(length)), length - answer)


@given(LENGTHS, st.integers(0, 300))
def test_no_other_cut_is_cheaper(lengths: list[int], call_cost: int) -> None:
    groups = cut_groups(lengths, call_cost)
    others: list[float] = []
    for count in range(len(lengths)):
        for inner in combinations(range(1, len(lengths)), count):
            bounds = [0, *inner, len(lengths)]
            parts = [lengths[a:b] for a, b in pairwise(bounds)]
            others.append(sum(len(part) * part[-1] ** 2 + call_cost for part in parts))
    assert cost(groups, call_cost) == min(others)


@given(LENGTHS, st.integers(0, 300))
def test_groups_follow_each_other_and_hold_every_sequence(lengths: list[int], call_cost: int) -> None:
    groups = cut_groups(lengths, call_cost)
    assert [length for group in groups for length in group.lengths] == lengths
    start = 0
    for group in groups:
        assert group.start == start
        start += group.tokens


def test_equal_lengths_are_one_group_without_padding() -> None:
    (group,) = cut_groups([7] * 5, 0.0)
    assert group.even
    assert group.tokens == 35


def test_sequences_are_sorted_by_length_and_keep_their_order_among_equals() -> None:
    assert by_length([of_length(length) for length in (5, 3, 5, 2, 3)]) == [3, 1, 4, 0, 2]


@given(st.lists(st.integers(2, 40), max_size=30), st.integers(1, 9), st.integers(1, 80), st.integers(1, 20))
def test_a_batch_never_holds_more_than_it_may_unless_one_sequence_does(
    lengths: list[int], at_most: int, max_tokens: int, max_answers: int
) -> None:
    sequences = [of_length(length, answer=1 + length % 3 % (length - 1)) for length in lengths]
    order = by_length(sequences)
    batches = micro_batches(sequences, order, at_most=at_most, max_tokens=max_tokens, max_answer_tokens=max_answers)
    assert [index for batch in batches for index in batch] == order
    for batch in batches:
        tokens = sum(len(sequences[index].ids) for index in batch)
        answers = sum(len(sequences[index].answer_ids) for index in batch)
        assert len(batch) == 1 or (len(batch) <= at_most and tokens <= max_tokens and answers <= max_answers)


def test_no_sequences_make_no_batch() -> None:
    assert micro_batches([], [], at_most=3, max_tokens=10, max_answer_tokens=10) == []


@pytest.mark.parametrize("call_cost", [0.0, 1e9])
def test_the_price_of_a_call_decides_how_many_there_are(call_cost: float) -> None:
    assert len(cut_groups([2, 4, 9, 30], call_cost)) == (4 if call_cost == 0 else 1)
