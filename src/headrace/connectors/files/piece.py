"""Consecutive records of one file, read and checked but not yet emitted."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from headrace.connectors.records.dead_letters import dead_letter
from headrace.connectors.records.kernels import int64_array, int64_numpy
from headrace.connectors.records.rows import Arrivals, RowMaker
from headrace.connectors.records.typed_block import Places, Reject
from headrace.events.dead_letter import DeadLetter
from headrace.events.row_batch import RowBatch


@dataclass(frozen=True, slots=True)
class Letter:
    """A rejected record and its position."""

    index: int
    """The record's number in its piece."""
    id: str
    letter: DeadLetter


@dataclass(frozen=True, slots=True)
class Piece:
    """n records of one file."""

    rows: RowBatch
    """The good records; `offsets` are their numbers in the piece, ascending."""
    letters: Sequence[Letter]
    """The rejected records, ascending."""
    ends: Places
    """[n] where to continue after each record: byte, or Parquet row"""
    last_lines: Places
    """[n] lines read up to each record"""
    ends_file: str = ""
    """Why nothing after it can be read: the code of its last dead letter."""

    @property
    def count(self) -> int:
        return len(self.ends)

    def slice(self, start: int, stop: int) -> tuple[RowBatch, list[Letter]]:
        """Rows and dead letters of the records from `start` to before `stop`."""
        letters = [letter for letter in self.letters if start <= letter.index < stop]
        if not self.letters:
            return self.rows.slice(start, stop - start), letters
        first, last = np.searchsorted(int64_numpy(self.rows.offsets), [start, stop]).tolist()
        return self.rows.slice(first, last - first), letters


@dataclass(frozen=True, slots=True)
class PieceMaker:
    """Turns a parser's columns into a piece of a file."""

    maker: RowMaker
    connector: str
    file: str
    """The file's name, for ids, origins and dead letters."""

    def make(
        self,
        table: pa.Table,
        rejects: Sequence[Reject],
        lines: Places,
        ends: Places,
        last_lines: Places,
        raw: Callable[[int], bytes],
    ) -> Piece:
        """`table` holds the good rows of n records, `rejects` the others; `lines` [n] are their line numbers."""
        good = np.arange(len(ends))
        if rejects:
            good = np.delete(good, [reject.index for reject in rejects])
        rows, refused = self.maker.make(table, Arrivals(self.file, lines[good]))
        faults = [*rejects, *(Reject(int(good[fault.index]), fault.code, fault.reason) for fault in refused)]
        letters = [
            self._letter(fault, int(lines[fault.index]), raw(fault.index)) for fault in sorted(faults, key=_index)
        ]
        offsets = int64_array(good[int64_numpy(rows.offsets)])
        placed = RowBatch(
            rows.table, rows.schema, rows.ids, rows.keys, rows.event_times, rows.ingested_at, rows.origins, offsets
        )
        return Piece(placed, letters, ends, last_lines)

    def fault(self, code: str, reason: str, line: int, end: int, raw: bytes, *, ends_file: bool = False) -> Piece:
        """A piece with one rejected record."""
        empty = self.maker.schema.to_arrow().empty_table()
        places = np.array([line], np.int64)
        piece = self.make(empty, [Reject(0, code, reason)], places, np.array([end], np.int64), places, lambda _: raw)
        return replace(piece, ends_file=code if ends_file else "")

    def _letter(self, fault: Reject, line: int, raw: bytes) -> Letter:
        record_id, letter = dead_letter(
            source=f"{self.connector}:{self.file}", position=str(line), code=fault.code,
            reason=f"{self.file}:{line}: {fault.reason}", raw=raw,
        )  # fmt: skip
        return Letter(fault.index, record_id, letter)


def _index(fault: Reject) -> int:
    return fault.index
