"""What a parser makes of a block of raw records: columns of the good ones, reasons for the others, places of all."""

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
    """Its number in the block, from 0, good records counted."""
    code: str
    """As in DeadLetter.code."""
    reason: str


@dataclass(frozen=True, slots=True)
class TypedBlock:
    """n records of one block, of which `table` holds the good ones in order."""

    table: pa.Table
    """[n − rejects] rows, typed as the schema says."""
    rejects: tuple[Reject, ...]
    """By index, ascending, each index once."""
    ends: Places
    """[n] offset in the block behind each record"""
    lines: Places
    """[n] line on which each record starts, from 1 at the block's start"""
    last_lines: Places
    """[n] line on which each record ends"""
    raw: Callable[[int], bytes]
    """The bytes of the record with that index."""
    consumed: int
    """Bytes of the block that are done with: records and blank lines."""
    consumed_lines: int
    """Lines that are done with."""

    @property
    def count(self) -> int:
        return len(self.ends)
