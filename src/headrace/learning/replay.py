"""Past examples that are learned again beside the fresh ones.

The newest `capacity` examples, drawn uniformly without repetition. Uniform draws over the buffer are what the measured
results rest on; the buffer forgets oldest first, not by reservoir, because in a stream whose labels can change, an example's
age is the best sign that it no longer holds (docs/decisions/0010).
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping

import msgspec
import numpy as np

from headrace.learning.fresh import Fresh, pack, unpack


class _State(msgspec.Struct, frozen=True):
    capacity: int
    seed: int
    items: list[Fresh]


class ReplayBuffer:
    """Bounded, first in first out."""

    def __init__(self, capacity: int, seed: int) -> None:
        """`capacity` in examples; 0: nothing is ever replayed."""
        if capacity < 0:
            raise ValueError(f"capacity is a number of examples, not {capacity}")
        self._capacity = capacity
        self._seed = seed
        self._items: deque[Fresh] = deque(maxlen=capacity)

    def __len__(self) -> int:
        return len(self._items)

    @property
    def items(self) -> tuple[Fresh, ...]:
        """All of them, oldest first."""
        return tuple(self._items)

    def add(self, items: Iterable[Fresh]) -> None:
        """Takes learned examples in, in order; the oldest make room."""
        self._items.extend(items)

    def draw(self, count: int, round_number: int, epoch: int) -> list[Fresh]:
        """`count` different examples, or all where there are fewer, in drawn order.

        Depends on seed, round, epoch and the buffer's content alone. A partial Fisher-Yates shuffle over the raw output of
        PCG64, whose stream NumPy guarantees across versions (NEP 19), unlike that of `Generator.choice`.
        """
        places = list(range(len(self._items)))
        count = min(count, len(places))
        raw = np.random.PCG64([self._seed, round_number, epoch]).random_raw(count).tolist() if count else []
        for i, number in enumerate(raw):
            j = i + number % (len(places) - i)
            places[i], places[j] = places[j], places[i]
        items = self.items
        return [items[place] for place in places[:count]]

    def renew(self, items: Mapping[str, Fresh]) -> None:
        """Puts examples, as they were asked again, in the places of the former ones, by example id; others are passed over."""
        self._items = deque((items.get(item.example_id, item) for item in self._items), maxlen=self._capacity)

    def discard(self, predicate: Callable[[Fresh], bool]) -> int:
        """Drops the examples that `predicate` names; returns how many."""
        kept = [item for item in self._items if not predicate(item)]
        dropped = len(self._items) - len(kept)
        self._items = deque(kept, maxlen=self._capacity)
        return dropped

    def state(self) -> bytes:
        return pack(_State(self._capacity, self._seed, list(self._items)))

    @classmethod
    def from_state(cls, data: bytes) -> "ReplayBuffer":
        state = unpack(data, _State)
        buffer = cls(state.capacity, state.seed)
        buffer.add(state.items)
        return buffer
