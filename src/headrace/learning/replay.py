"""Past examples that are learned again together with the fresh ones.

The newest `capacity` examples, drawn uniformly without repetition. Uniform draws over the buffer are what the measured
results rest on; the buffer forgets oldest first, not by reservoir, because in a stream whose labels can change, an example's
age is the best sign that it no longer holds (docs/decisions/0010).
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import msgspec
import numpy as np

from headrace.learning.fresh import Fresh, pack, unpack


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """`learning.replay`."""

    per_fresh: float = 1.0
    """Replayed examples per fresh one."""
    capacity: int = 4096
    """In examples; 0: no replay."""


class _State(msgspec.Struct, frozen=True):
    items: list[Fresh]


class ReplayBuffer:
    """Bounded, first in, first out."""

    def __init__(self, options: ReplayOptions, seed: int) -> None:
        self._seed = seed
        self._items: deque[Fresh] = deque()
        self.declare(options)

    def declare(self, options: ReplayOptions) -> None:
        """Applies the declared options; a smaller buffer forgets its oldest examples at once."""
        if options.capacity < 0:
            raise ValueError(f"capacity must be a number of examples, not {options.capacity}")
        self._options = options
        self._items = deque(self._items, maxlen=options.capacity)

    def __len__(self) -> int:
        return len(self._items)

    @property
    def items(self) -> tuple[Fresh, ...]:
        """All of them, oldest first."""
        return tuple(self._items)

    def add(self, items: Iterable[Fresh]) -> None:
        """Adds learned examples in order; evicts the oldest."""
        self._items.extend(items)

    def draw(self, fresh: int, round_number: int, epoch: int) -> list[Fresh]:
        """`perFresh` distinct examples for each of `fresh`, or all if there are fewer, in the order drawn.

        Depends on seed, round, epoch and the buffer's content only. A partial Fisher-Yates shuffle over the raw output of
        PCG64, whose stream NumPy guarantees across versions (NEP 19), unlike that of `Generator.choice`.
        """
        places = list(range(len(self._items)))
        count = min(round(self._options.per_fresh * fresh), len(places))
        raw = np.random.PCG64([self._seed, round_number, epoch]).random_raw(count).tolist() if count else []
        for i, number in enumerate(raw):
            j = i + number % (len(places) - i)
            places[i], places[j] = places[j], places[i]
        items = self.items
        return [items[place] for place in places[:count]]

    def replace(self, items: Mapping[str, Fresh]) -> None:
        """Replaces examples with their reasked versions, by example id; ignores unknown ones."""
        self._items = deque((items.get(item.example_id, item) for item in self._items), maxlen=self._options.capacity)

    def discard(self, predicate: Callable[[Fresh], bool]) -> int:
        """Drops the examples that match `predicate`; returns how many."""
        kept = [item for item in self._items if not predicate(item)]
        dropped = len(self._items) - len(kept)
        self._items = deque(kept, maxlen=self._options.capacity)
        return dropped

    def state(self) -> bytes:
        return pack(_State(list(self._items)))

    @classmethod
    def from_state(cls, data: bytes, options: ReplayOptions, seed: int) -> "ReplayBuffer":
        state = unpack(data, _State)
        buffer = cls(options, seed)
        buffer.add(state.items)
        return buffer
