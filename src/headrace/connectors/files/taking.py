"""The order in which records of several files are taken, and how far each file has been read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from headrace.connectors.files.discovery import FoundFile
from headrace.connectors.files.opening import FileReader
from headrace.connectors.files.piece import Letter, Piece
from headrace.connectors.files.position import FileState
from headrace.connectors.records.kernels import int64_array, int64_numpy
from headrace.connectors.records.typed_block import Places
from headrace.events.row_batch import RowBatch, concat

OpenFile = Callable[[FoundFile], FileReader | None]


@dataclass(frozen=True, slots=True)
class Taken:
    """Records in order."""

    rows: RowBatch | None
    letters: Sequence[Letter]


class Order(Protocol):
    """Takes records from some files."""

    def take(self, max_records: int) -> Taken | None:
        """The next records, at least one; advances the files' states past them. None: nothing for now."""
        ...

    def close(self) -> None: ...


@dataclass(slots=True)
class _Head:
    """One file's read-ahead."""

    file: FoundFile
    state: FileState
    reader: FileReader | None = None
    piece: Piece | None = None
    at: int = 0
    ended: bool = False
    keys: Places = field(default_factory=lambda: np.empty(0, np.int64))
    """[piece] running maximum of the file's event times"""

    @property
    def left(self) -> int:
        return 0 if self.piece is None else self.piece.count - self.at

    def refill(self, open_file: OpenFile) -> None:
        """Reads more once everything is taken; sets `ended` if there is nothing."""
        if self.left or self.ended:
            return
        if self.reader is None:
            self.reader = open_file(self.file)
        self.piece = None if self.reader is None else self.reader.next()
        self.at = 0
        if self.piece is None:
            self.ended = True
            self.close()
        else:
            self.keys = _running_max(self.piece, self.state.high)

    def advance(self, count: int) -> tuple[RowBatch, list[Letter]]:
        """Takes records and advances the state past them."""
        assert self.piece is not None
        stop = self.at + count
        taken = self.piece.slice(self.at, stop)
        self.state.offset = int(self.piece.ends[stop - 1])
        self.state.line = int(self.piece.last_lines[stop - 1])
        self.state.high = int(self.keys[stop - 1])
        if stop == self.piece.count and self.piece.ends_file:
            self.state.ended = self.piece.ends_file
        self.at = stop
        return taken

    def close(self) -> None:
        if self.reader is not None:
            self.reader.close()
            self.reader = None


class OneByOne:
    """Reads files one after the other, in the given order, each to its end."""

    def __init__(self, open_file: OpenFile) -> None:
        self._open_file = open_file
        self._heads: dict[str, _Head] = {}
        self._due: list[str] = []

    def add(self, file: FoundFile, state: FileState) -> None:
        """Queues a file, also again after it has grown."""
        head = self._heads.setdefault(file.name, _Head(file, state))
        head.file, head.state = file, state
        if file.name not in self._due:
            self._due.append(file.name)
            self._due.sort()

    def take(self, max_records: int) -> Taken | None:
        while self._due:
            head = self._heads[self._due[0]]
            if not head.left and not self._read(head):
                self._due.pop(0)
                continue
            rows, letters = head.advance(min(max_records, head.left))
            return Taken(rows if rows.num_rows else None, letters)
        return None

    def _read(self, head: _Head) -> bool:
        """Reads more; at the end keeps a reader that holds part of a record and closes any other."""
        if head.reader is None:
            head.reader = self._open_file(head.file)
        head.piece = None if head.reader is None else head.reader.next()
        head.at = 0
        if head.piece is not None:
            head.keys = _running_max(head.piece, head.state.high)
            return True
        if head.reader is not None and not head.reader.holds_data:
            head.close()
        return False

    def drop(self, name: str) -> None:
        """Forgets a file: closes its reader and drops its read-ahead."""
        if name in self._heads:
            self._heads.pop(name).close()
        if name in self._due:
            self._due.remove(name)

    def close(self) -> None:
        for head in self._heads.values():
            head.close()


class Merged:
    """Bounded files merged by event time.

    At every step the file whose next record has the smallest key goes first, ties by the file's place in the list. A
    record's key is the largest event time of its file so far, so each file keeps its own order and its state stays one
    number; a file that is in order within `outOfOrderness` gives no record later than the watermark allows. The order
    is a function of the files alone, not of how they were cut into blocks or batches.
    """

    def __init__(self, open_file: OpenFile, files: Sequence[tuple[FoundFile, FileState]]) -> None:
        self._open_file = open_file
        self._heads = [_Head(file, state) for file, state in files]

    def take(self, max_records: int) -> Taken | None:
        for head in self._heads:
            head.refill(self._open_file)
        counts = self._counts(max_records)
        parts: list[tuple[RowBatch, Places]] = []
        letters: list[tuple[int, int, Letter]] = []
        for place, (head, count) in enumerate(zip(self._heads, counts, strict=True)):
            if not count:
                continue
            keys = head.keys
            rows, found = head.advance(count)
            parts.append((rows, keys[int64_numpy(rows.offsets)]))
            letters += [(int(keys[letter.index]), place, letter) for letter in found]
        if not parts:
            return None
        letters.sort(key=lambda item: item[:2])
        return Taken(_interleaved(parts), [letter for _, _, letter in letters])

    def _counts(self, max_records: int) -> list[int]:
        """How many records of each file precede the first unknown one and fit into a batch."""
        open_ends = [(int(head.keys[-1]), place) for place, head in enumerate(self._heads) if head.left]
        if not open_ends:
            return [0] * len(self._heads)
        bound, last = min(open_ends)
        keys: list[Places] = []
        for place, head in enumerate(self._heads):
            waiting = head.keys[head.at :] if head.left else np.empty(0, np.int64)
            known = int(np.searchsorted(waiting, bound, side="right" if place <= last else "left"))
            keys.append(waiting[: min(known, max_records)])
        places = np.repeat(np.arange(len(keys)), [len(part) for part in keys])
        first = np.argsort(np.concatenate(keys), kind="stable")[:max_records]
        return np.bincount(places[first], minlength=len(keys)).tolist()

    def close(self) -> None:
        for head in self._heads:
            head.close()


def _running_max(piece: Piece, high: int) -> Places:
    times = np.full(piece.count, high, np.int64)
    places = int64_numpy(piece.rows.offsets)
    times[places] = np.maximum(int64_numpy(piece.rows.event_times), high)
    return np.maximum.accumulate(times)


def _interleaved(parts: Sequence[tuple[RowBatch, Places]]) -> RowBatch | None:
    rows = concat([part for part, _ in parts])
    if not rows.num_rows:
        return None
    if len(parts) == 1:
        return rows
    order = int64_array(np.argsort(np.concatenate([keys for _, keys in parts]), kind="stable"))
    columns = (rows.ids, rows.keys, rows.event_times, rows.ingested_at, rows.origins, rows.offsets)
    return RowBatch(rows.table.take(order), rows.schema, *(column.take(order) for column in columns))
