"""The score of always giving the most frequent answer so far: the baseline for every exact match."""

import msgspec

from headrace.learning.fresh import pack, unpack

CAPACITY = 4096


class _State(msgspec.Struct, frozen=True):
    counts: dict[str, int]
    best: str | None


class MajorityAnswer:
    """Counts answers, exactly up to `capacity` distinct ones.

    Beyond that the Misra-Gries summary (1982) keeps every answer whose share of n answers is above 1/(capacity + 1): free text
    has no majority worth the memory.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._counts: dict[str, int] = {}
        self._best: str | None = None

    @property
    def answer(self) -> str | None:
        """The most frequent answer so far; on a tie, the first to reach its count; None before the first answer."""
        return self._best

    def update(self, answer: str) -> bool:
        """Whether the most frequent answer before this one equals it; then counts it."""
        right = answer == self._best
        if answer in self._counts or len(self._counts) < self._capacity:
            count = self._counts[answer] = self._counts.get(answer, 0) + 1
            if self._best is None or count > self._counts[self._best]:
                self._best = answer
        else:
            self._counts = {known: count - 1 for known, count in self._counts.items() if count > 1}
            self._best = self._best if self._best in self._counts else None
        return right

    def state(self) -> bytes:
        return pack(_State(self._counts, self._best))

    @classmethod
    def from_state(cls, data: bytes, capacity: int = CAPACITY) -> "MajorityAnswer":
        state = unpack(data, _State)
        majority = cls(capacity)
        majority._counts, majority._best = state.counts, state.best
        return majority
