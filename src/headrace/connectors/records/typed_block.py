"""A parser's result for a block of raw records: columns of the good ones, reasons for the others, positions of all."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Places = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Reject:
    """A record that cannot become a row."""

    index: int
    """Its number in the block, from 0, counting good records too."""
    code: str
    """See DeadLetter.code."""
    reason: str


@dataclass(frozen=True, slots=True)
class TypedBlock:
    """n records of one block; `table` has the good ones in order."""

    table: pa.Table
    """[n − rejects] rows, typed according to the schema"""
    rejects: tuple[Reject, ...]
    """By index, ascending, each index once."""
    ends: Places
    """[n] offset in the block after each record"""
    lines: Places
    """[n] line on which each record starts, from 1 at the block's start"""
    last_lines: Places
    """[n] line on which each record ends"""
    raw: Callable[[int], bytes]
    """The bytes of the record at that index."""
    consumed: int
    """Bytes of the block that are processed: records and blank lines."""
    consumed_lines: int
    """Processed lines."""

    @property
    def count(self) -> int:
        return len(self.ends)
