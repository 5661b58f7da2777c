"""Examples held out for ever, on which every candidate is compared with the served version (SEMANTICS §5, §6).

The hash of the root event's id alone decides what is held out, with one salt for all finetuners: a replay, a restart and a
finetuner that reads another's examples all hold out the same roots. So the fraction stays held out after the set is full;
it is small (4 %) in order that learning barely pays for it (docs/decisions/0011).
"""

from collections.abc import Callable, Mapping

import msgspec

from headrace.foundation.ids import fraction
from headrace.learning.fresh import Fresh, pack, unpack
from headrace.models.sequence import TokenSequence

SALT = "anchor"
SHARE = 0.04


class _State(msgspec.Struct, frozen=True):
    max: int
    share: float
    version: int
    items: list[Fresh]


class AnchorSet:
    """The first `max` held-out examples; their prompts are frozen, their labels versioned."""

    def __init__(self, max: int, share: float = SHARE) -> None:  # noqa: A002 - the field's own word, as in the YAML
        """`max` in examples; 0: nothing is held out. `share` of the root events."""
        if max < 0 or not 0 <= share < 1:
            raise ValueError(f"anchors take max ≥ 0 and 0 ≤ share < 1, not {max} and {share}")
        self._max = max
        self._share = share
        self._version = 1
        self._items: dict[str, Fresh] = {}

    def __len__(self) -> int:
        return len(self._items)

    @property
    def version(self) -> int:
        """Grows whenever a label or a prompt changes or an anchor goes, from 1."""
        return self._version

    def takes(self, root_id: str) -> bool:
        """Whether the root event is held out: scored, never learned, whether or not the set still has room."""
        return self._max > 0 and fraction(root_id, SALT) < self._share

    def add(self, item: Fresh) -> bool:
        """Takes a held-out example in while there is room; says whether it did."""
        if len(self._items) >= self._max or item.example_id in self._items:
            return False
        self._items[item.example_id] = item
        return True

    def items(self) -> tuple[Fresh, ...]:
        """In the order in which they came."""
        return tuple(self._items.values())

    def relabel(self, answers: Mapping[str, tuple[str, TokenSequence]]) -> int:
        """Gives anchors new answers by example id: the text, and the same prompt with it. Returns the version that follows.

        Where nothing differs the version stays. Ids that are not anchors are passed over: they may have been re-asked for
        the replay buffer.
        """
        changed = {
            example_id: msgspec.structs.replace(item, answer=answers[example_id][0], sequence=answers[example_id][1])
            for example_id, item in self._items.items()
            if example_id in answers and answers[example_id][0] != item.answer
        }
        self._items.update(changed)
        self._version += bool(changed)
        return self._version

    def renew(self, items: Mapping[str, Fresh]) -> int:
        """Gives anchors new prompts and answers by example id, as they were asked again. Returns the version that follows."""
        renewed = {example_id: item for example_id, item in items.items() if example_id in self._items}
        self._items.update(renewed)
        self._version += bool(renewed)
        return self._version

    def discard(self, predicate: Callable[[Fresh], bool]) -> int:
        """Drops anchors whose label no longer holds and could not be asked again; later held-out examples take their room."""
        kept = {example_id: item for example_id, item in self._items.items() if not predicate(item)}
        dropped = len(self._items) - len(kept)
        self._items = kept
        self._version += dropped > 0
        return dropped

    def state(self) -> bytes:
        return pack(_State(self._max, self._share, self._version, list(self._items.values())))

    @classmethod
    def from_state(cls, data: bytes) -> "AnchorSet":
        state = unpack(data, _State)
        anchors = cls(state.max, state.share)
        anchors._version = state.version
        anchors._items = {item.example_id: item for item in state.items}
        return anchors
