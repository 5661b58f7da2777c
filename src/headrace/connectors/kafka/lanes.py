"""Messages read from each partition but not yet emitted, and the order in which to emit them.

A partition's rows come in its own order; partitions are merged by event time, as bounded files are: at every step the
partition whose next record has the smallest key goes first, ties by the partition's number. A record's key is the largest
event time of its partition so far. A partition read to its end blocks nothing; one that is behind does, so that
catching up on a topic of many partitions makes no row late that was not late in its own partition.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from headrace.connectors.records.kernels import int64_array, int64_numpy
from headrace.connectors.records.typed_block import Places
from headrace.events.dead_letter import DeadLetter
from headrace.events.row_batch import RowBatch, concat

NO_TIME = -(2**63)


@dataclass(frozen=True, slots=True)
class Message:
    """A message as received."""

    partition: int
    offset: int
    timestamp: int
    """ms since 1970 UTC; −1: none."""
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


@dataclass(frozen=True, slots=True)
class Letter:
    """A message that cannot become a row."""

    index: int
    """Its number in the piece."""
    record_id: str
    letter: DeadLetter


@dataclass(frozen=True, slots=True)
class Piece:
    """n messages of one partition, typed."""

    rows: RowBatch | None
    """None: no rows. `offsets`: each row's number among the n."""
    letters: Sequence[Letter]
    """By index."""
    ends: Places
    """[n] the offset after each message"""
    keys: Places
    """[n] largest event time of the partition up to each message; NO_TIME: no row yet"""


@dataclass(slots=True)
class Lane:
    """One partition."""

    partition: int
    next: int
    """Offset of the next message to emit."""
    fetched: int
    """Offset of the next message to fetch."""
    high: int = NO_TIME
    """Largest event time emitted."""
    end: int | None = None
    """Where a bounded source ends in this partition."""
    at_end: bool = False
    """Everything available was fetched."""
    heard: float = 0.0
    """When something last arrived, monotonic seconds."""
    raw: deque[Message] = field(default_factory=deque[Message])
    """Fetched but not yet typed."""
    pieces: deque[Piece] = field(default_factory=deque[Piece])
    at: int = 0
    """Messages of the first piece that were emitted."""

    @property
    def waiting(self) -> int:
        """Messages fetched but not yet emitted."""
        return len(self.raw) + sum(len(piece.ends) for piece in self.pieces) - self.at

    @property
    def last_key(self) -> int:
        """Largest event time typed."""
        return int(self.pieces[-1].keys[-1]) if self.pieces else self.high

    @property
    def done(self) -> bool:
        """A bounded source has nothing more to fetch here."""
        return self.end is not None and self.fetched >= self.end

    def reached(self, offset: int) -> None:
        """Nothing more comes before `offset`: only transaction markers lie in between."""
        self.fetched = max(self.fetched, offset)
        self.at_end = True
        if not self.waiting:
            self.next = self.fetched

    def add(self, piece: Piece) -> None:
        self.pieces.append(piece)

    def keys(self, most: int) -> Places:
        """[≤ most] keys of the next messages."""
        found: list[Places] = []
        at = self.at
        for piece in self.pieces:
            found.append(piece.keys[at : at + most])
            most, at = most - len(found[-1]), 0
            if most <= 0:
                break
        return np.concatenate(found) if found else np.empty(0, np.int64)

    def take(self, count: int) -> list[tuple[Piece, int, int]]:
        """The next `count` messages as (piece, start, stop); advances the lane past them."""
        taken: list[tuple[Piece, int, int]] = []
        while count:
            piece = self.pieces[0]
            stop = min(len(piece.ends), self.at + count)
            taken.append((piece, self.at, stop))
            count -= stop - self.at
            self.next, self.high, self.at = int(piece.ends[stop - 1]), int(piece.keys[stop - 1]), stop
            if stop == len(piece.ends):
                self.pieces.popleft()
                self.at = 0
        if not self.waiting and (self.at_end or self.done):
            self.next = self.fetched
        return taken


@dataclass(frozen=True, slots=True)
class Taken:
    """Messages in order."""

    rows: RowBatch | None
    letters: Sequence[tuple[str, DeadLetter]]
    count: int


def take(lanes: Sequence[Lane], most: int, holding: Sequence[Lane]) -> Taken:
    """Up to `most` messages; none if a partition in `holding` (behind, nothing typed) may still have an earlier one.

    `lanes` by partition.
    """
    counts = _counts(lanes, most, holding)
    base = sum(lane.next for lane in lanes)
    parts: list[RowBatch] = []
    row_orders: list[Places] = []
    letters: list[tuple[int, int, Letter]] = []
    order = 0
    for place, (lane, count) in enumerate(zip(lanes, counts, strict=True)):
        for piece, start, stop in lane.take(count):
            if piece.rows is not None:
                numbers = int64_numpy(piece.rows.offsets)
                first, last = (int(one) for one in np.searchsorted(numbers, (start, stop)))
                parts += [piece.rows.slice(first, last - first)] if last > first else []
                row_orders += [piece.keys[numbers[first:last]]] if last > first else []
            letters += [(int(piece.keys[one.index]), place, one) for one in piece.letters if start <= one.index < stop]
            order += stop - start
    letters.sort(key=lambda one: one[:2])
    rows = _merged(parts, row_orders, base) if parts else None
    return Taken(rows, [(one.record_id, one.letter) for _, _, one in letters], order)


def _counts(lanes: Sequence[Lane], most: int, holding: Sequence[Lane]) -> list[int]:
    """How many messages of each lane precede the first unknown one and fit."""
    held = [(lane.last_key, place) for place, lane in enumerate(lanes) if lane in holding]
    bound, last = min(held, default=(2**63 - 1, len(lanes)))
    keys: list[Places] = []
    for place, lane in enumerate(lanes):
        found = lane.keys(most)
        known = int(np.searchsorted(found, bound, side="right" if place <= last else "left"))
        keys.append(found[:known])
    places = np.repeat(np.arange(len(keys)), [len(one) for one in keys])
    first = np.argsort(np.concatenate(keys), kind="stable")[:most] if keys else np.empty(0, np.int64)
    return np.bincount(places[first], minlength=len(keys)).tolist()


def _merged(parts: Sequence[RowBatch], keys: Sequence[Places], base: int) -> RowBatch:
    rows = concat(parts)
    if len(parts) > 1:
        order = int64_array(np.argsort(np.concatenate(keys), kind="stable"))
        columns = (rows.ids, rows.keys, rows.event_times, rows.ingested_at, rows.origins, rows.offsets)
        rows = RowBatch(rows.table.take(order), rows.schema, *(column.take(order) for column in columns))
    return replace(rows, offsets=int64_array(base + np.arange(rows.num_rows)))
