"""Sequences of many lengths as one flat sequence: no padding, except a little inside attention (no torch is needed to plan it)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from headrace.models.sequence import TokenSequence

CALL_COST = 1_000_000
"""The cost of one attention call besides its arithmetic, in units of one hidden channel times one pair of positions.
Measured on two x86 cores; a factor of two either way makes no measurable difference."""


@dataclass(frozen=True, slots=True)
class Group:
    """Neighbours in the flat sequence whose attention is computed in one call, as [count, longest]."""

    start: int
    """Index of the first token in the flat sequence."""
    lengths: tuple[int, ...]

    @property
    def longest(self) -> int:
        return self.lengths[-1]

    @property
    def tokens(self) -> int:
        return sum(self.lengths)

    @property
    def even(self) -> bool:
        return self.lengths[0] == self.lengths[-1]


def by_length(sequences: Sequence[TokenSequence]) -> list[int]:
    """Indices of the sequences, shortest first; equal lengths keep their order."""
    return sorted(range(len(sequences)), key=lambda index: len(sequences[index].ids))


def cut_groups(lengths: Sequence[int], call_cost: float) -> list[Group]:
    """Splits ascending lengths into groups with the least sum of count · longest² + `call_cost` per group.

    Dynamic programming over the distinct lengths: best[j] = min over i < j of best[i] + cost of one group from i to j.
    """
    ends = [
        index for index in range(1, len(lengths) + 1) if index == len(lengths) or lengths[index] != lengths[index - 1]
    ]
    best, cut = [0.0], [0]
    starts = [0, *ends]
    for place, end in enumerate(ends, start=1):
        square = lengths[end - 1] ** 2
        cost, origin = min((best[i] + (end - starts[i]) * square + call_cost, i) for i in range(place))
        best.append(cost)
        cut.append(origin)
    bounds = [len(ends)]
    while bounds[-1]:
        bounds.append(cut[bounds[-1]])
    bounds.reverse()
    return list(_groups(lengths, [starts[bound] for bound in bounds]))


def _groups(lengths: Sequence[int], bounds: Sequence[int]) -> Iterator[Group]:
    token = 0
    for first, last in pairwise(bounds):
        group = Group(token, tuple(lengths[first:last]))
        yield group
        token += group.tokens


def micro_batches(
    sequences: Sequence[TokenSequence], order: Sequence[int], *, at_most: int, max_tokens: int, max_answer_tokens: int
) -> list[list[int]]:
    """Splits `order` into runs within the limits of sequences, tokens and answer tokens; a run has at least one sequence."""
    batches: list[list[int]] = []
    tokens = answers = 0
    for index in order:
        length = len(sequences[index].ids)
        answer = length - sequences[index].answer_start
        full = not batches or len(batches[-1]) >= at_most
        if full or tokens + length > max_tokens or answers + answer > max_answer_tokens:
            batches.append([])
            tokens = answers = 0
        batches[-1].append(index)
        tokens += length
        answers += answer
    return batches
