"""Held-out examples, never trained on, on which every candidate is compared with the served version (SEMANTICS §5, §6).

Only the hash of the root event's id decides what is held out, with one salt for all finetuners: a replay, a restart and a
finetuner that reads another's examples all hold out the same roots. So the fraction stays held out after the set is full;
it is small (4 %), so that it barely costs learning (docs/decisions/0011).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec

from headrace.foundation.ids import fraction
from headrace.learning.fresh import Fresh, pack, unpack

SALT = "anchor"
SHARE = 0.04


@dataclass(frozen=True, slots=True)
class AnchorOptions:
    """What to hold out."""

    max: int = 256
    """Maximum number of anchors; 0: nothing is held out."""
    share: float = SHARE
    """Fraction of the root events."""


class _State(msgspec.Struct, frozen=True):
    version: int
    items: list[Fresh]


class AnchorSet:
    """The first `max` held-out examples; their prompts are frozen, their labels versioned."""

    def __init__(self, options: AnchorOptions) -> None:
        self._version = 1
        self._items: dict[str, Fresh] = {}
        self.declare(options)

    def declare(self, options: AnchorOptions) -> None:
        """Applies the declared options; a smaller set keeps its first anchors."""
        if options.max < 0 or not 0 <= options.share < 1:
            raise ValueError(f"anchors need max ≥ 0 and 0 ≤ share < 1, not max {options.max} and share {options.share}")
        self._options = options
        kept = dict(list(self._items.items())[: options.max])
        self._version += len(kept) < len(self._items)
        self._items = kept

    @property
    def full(self) -> bool:
        """Whether the set is full."""
        return len(self._items) >= self._options.max

    def __len__(self) -> int:
        return len(self._items)

    @property
    def version(self) -> int:
        """Starts at 1; grows whenever a label or a prompt changes or an anchor is dropped."""
        return self._version

    def takes(self, root_id: str) -> bool:
        """Whether the root event is held out: scored, never learned, even if the set is full."""
        return self._options.max > 0 and fraction(root_id, SALT) < self._options.share

    def add(self, item: Fresh) -> bool:
        """Adds a held-out example if the set is not full; returns whether it did."""
        if self.full or item.example_id in self._items:
            return False
        self._items[item.example_id] = item
        return True

    def items(self) -> tuple[Fresh, ...]:
        """In order of arrival."""
        return tuple(self._items.values())

    def replace(self, items: Mapping[str, Fresh]) -> int:
        """Replaces anchors with their reasked versions, by example id; ignores unknown ones. Returns the new version,
        unchanged if nothing differs.
        """
        changed = {key: item for key, item in items.items() if key in self._items and item != self._items[key]}
        self._items.update(changed)
        self._version += bool(changed)
        return self._version

    def discard(self, predicate: Callable[[Fresh], bool]) -> int:
        """Drops anchors whose label is outdated and could not be reasked; later held-out examples take their places."""
        kept = {example_id: item for example_id, item in self._items.items() if not predicate(item)}
        dropped = len(self._items) - len(kept)
        self._items = kept
        self._version += dropped > 0
        return dropped

    def state(self) -> bytes:
        return pack(_State(self._version, list(self._items.values())))

    @classmethod
    def from_state(cls, data: bytes, options: AnchorOptions) -> "AnchorSet":
        state = unpack(data, _State)
        anchors = cls(options)
        anchors._version = state.version
        anchors._items = {item.example_id: item for item in state.items}
        anchors.declare(options)
        return anchors
