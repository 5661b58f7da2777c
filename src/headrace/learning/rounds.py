"""Divides the stream of examples into rounds of whole rows, by count alone (SEMANTICS §5)."""

import msgspec

from headrace.learning.fresh import Fresh, pack, unpack


class Round(msgspec.Struct, frozen=True):
    """Fresh examples that are learned together."""

    number: int
    """From 0; with the seed it decides which examples are replayed."""
    items: tuple[Fresh, ...]


class _State(msgspec.Struct, frozen=True):
    number: int
    pending: list[Fresh]


class RoundAssembler:
    """Closes a round at the first row boundary at or after `round_size` examples, so that no row is split between lessons."""

    def __init__(self, round_size: int) -> None:
        """`round_size` = batchSize × gradientAccumulationSteps, at least 1."""
        self.declare(round_size)
        self._number = 0
        self._pending: list[Fresh] = []

    def declare(self, round_size: int) -> None:
        """The size at which rounds close from now on, including the open one."""
        if round_size < 1:
            raise ValueError(f"a round needs at least one example, not {round_size}")
        self._round_size = round_size

    @property
    def pending(self) -> tuple[Fresh, ...]:
        """Examples waiting for their round to close."""
        return tuple(self._pending)

    @property
    def next_round(self) -> int:
        """The next round's number."""
        return self._number

    def add(self, item: Fresh, complete: bool) -> Round | None:
        """Takes the next example; `complete`: it is its row's last. Returns the round that this closes.

        A row whose last example never arrived (a dead letter) ends where another row begins: the previous round then closes
        without `item`, which opens the next one.
        """
        closed = None
        if self._pending and self._pending[-1].row_id != item.row_id and len(self._pending) >= self._round_size:
            closed = self._close()
        self._pending.append(item)
        if closed is None and complete and len(self._pending) >= self._round_size:
            closed = self._close()
        return closed

    def flush(self) -> Round | None:
        """Closes the round as it is: end of input, or a partial round whose boundary has been recorded."""
        return self._close() if self._pending else None

    def _close(self) -> Round:
        closed = Round(self._number, tuple(self._pending))
        self._number += 1
        self._pending = []
        return closed

    def state(self) -> bytes:
        return pack(_State(self._number, self._pending))

    @classmethod
    def from_state(cls, data: bytes, round_size: int) -> "RoundAssembler":
        """`round_size` is declared, so it does not come from the state."""
        state = unpack(data, _State)
        assembler = cls(round_size)
        assembler._number, assembler._pending = state.number, state.pending
        return assembler
