"""Vectors in memory, in blocks: growing copies nothing, and a scan reads one block after the other.

A row is kept as int8 with its scale and with the length of what that leaves out. A scan takes integer products alone, and knows
how far each may be off: |x·q − x'·q'| ≤ |x − x'|·|q| + |x'|·|q − q'| (Cauchy-Schwarz). What may be among the best by these
bounds is scored again from float32, so that the answer is exact while a quarter of the memory is read.
"""

from collections.abc import Callable

import numkong
import numpy as np
from numpy.typing import NDArray

BLOCK = 4_096
"""Rows of a block."""
_DENSE = 4
"""A block is read whole where more than one in so many of its rows is asked for."""
_ROUNDING = 2.0**-18
"""Part of a bound that covers the rounding of the bounds themselves."""

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Places = NDArray[np.int64]
Fetch = Callable[[Places], Floats]
"""The float32 rows at places, from where they are kept."""


class _Block:
    def __init__(self, dimension: int) -> None:
        self.small = np.empty((BLOCK, dimension), np.int8)
        self.scales = np.empty(BLOCK, np.float64)
        self.errors = np.empty(BLOCK, np.float64)
        """|x − x'| of each row."""
        self.lengths = np.empty(BLOCK, np.float64)
        """|x'| of each row."""
        self.whole: Floats | None = np.empty((BLOCK, dimension), np.float32)


class VectorRows:
    """Rows of one dimension by their place; up to `whole_up_to` of them also as they came."""

    def __init__(self, dimension: int, whole_up_to: int) -> None:
        self._dimension = dimension
        self._whole_up_to = whole_up_to
        self._blocks: list[_Block] = []
        self._size = 0

    def __len__(self) -> int:
        return self._size

    @property
    def whole(self) -> bool:
        """Whether the rows are here as they came."""
        return self._size <= self._whole_up_to

    def extend(self, rows: Floats) -> None:
        """[n, dimension], to the end."""
        done = 0
        while done < len(rows):
            block, start = divmod(self._size, BLOCK)
            if not start:
                self._blocks.append(_Block(self._dimension))
            count = min(BLOCK - start, len(rows) - done)
            _fill(self._blocks[block], slice(start, start + count), rows[done : done + count])
            done, self._size = done + count, self._size + count
            if not self.whole:
                self._forget_whole()

    def bounds(self, question: Floats, places: Places) -> tuple[Doubles, Doubles]:
        """Between what the scores of the rows at sorted `places` are: lower and upper, [len(places)] each."""
        lower, upper = np.empty(len(places)), np.empty(len(places))
        asked = _Question(question)
        borders = np.searchsorted(places, np.arange(0, (len(self._blocks) + 1) * BLOCK, BLOCK))
        for block, start, end in zip(self._blocks, borders, borders[1:], strict=False):
            if start < end:
                here = places[start:end] % BLOCK
                lower[start:end], upper[start:end] = asked.bounds(block, here)
        return lower, upper

    def rows(self, places: Places) -> Floats:
        """Copies of the rows at `places` as they came, in that order; they must be `whole`."""
        found = np.empty((len(places), self._dimension), np.float32)
        blocks = places // BLOCK
        for number in np.unique(blocks).tolist():
            here = blocks == number
            whole = self._blocks[number].whole
            assert whole is not None
            found[here] = whole[places[here] % BLOCK]
        return found

    def _forget_whole(self) -> None:
        for block in self._blocks:
            block.whole = None


def exact_scores(rows: Floats, question: Floats) -> Doubles:
    """In float64, the same whichever other rows are scored with them."""
    return (rows.astype(np.float64) * question.astype(np.float64)).sum(axis=1)


def _fill(block: _Block, part: slice, rows: Floats) -> None:
    small, scales = _small(rows.astype(np.float64))
    back = small * scales[:, None]
    block.small[part], block.scales[part] = small, scales
    block.errors[part] = np.sqrt(((rows - back) ** 2).sum(axis=1))
    block.lengths[part] = np.sqrt((back**2).sum(axis=1))
    if block.whole is not None:
        block.whole[part] = rows


def _small(rows: Doubles) -> tuple[NDArray[np.int8], Doubles]:
    """Each row in 127 steps to either side of zero, and how large a step is."""
    scales = np.maximum(np.abs(rows).max(axis=1), np.finfo(np.float32).tiny) / 127.0
    return np.rint(rows / scales[:, None]).astype(np.int8), scales


class _Question:
    """A question as the blocks take it."""

    def __init__(self, question: Floats) -> None:
        exact = question.astype(np.float64)[None]
        small, scales = _small(exact)
        self._small, self._scale = small, float(scales[0])
        self._length = float(np.linalg.norm(exact))
        self._error = float(np.linalg.norm(exact - small * scales[:, None]))

    def bounds(self, block: _Block, here: Places) -> tuple[Doubles, Doubles]:
        if len(here) == BLOCK:
            products = self._products(block.small)
            scales, errors, lengths = block.scales, block.errors, block.lengths
        else:
            dense = len(here) * _DENSE > BLOCK
            products = self._products(block.small)[here] if dense else self._products(block.small[here])
            scales, errors, lengths = block.scales[here], block.errors[here], block.lengths[here]
        scores = products * scales * self._scale
        off = (errors * self._length + lengths * self._error) * (1.0 + _ROUNDING) + _ROUNDING * lengths * self._length
        return scores - off, scores + off

    def _products(self, rows: NDArray[np.int8]) -> Doubles:
        return np.asarray(numkong.cdist(rows, self._small, "dot"), np.float64)[:, 0]
