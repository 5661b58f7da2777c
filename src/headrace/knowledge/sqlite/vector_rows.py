"""Vectors in memory, in blocks: growing copies nothing, and a scan reads one block after another.

A row is stored as int8 with its scale. A scan computes only integer products, whose error is bounded:
|x·q − x'·q'| ≤ |x − x'|·|q| + |x'|·|q − q'| (Cauchy-Schwarz). Rows that may be among the best by that bound are rescored from
float32, so that the answer is exact while a quarter of the memory is read.
"""

from collections.abc import Callable
from typing import Any

import numkong
import numpy as np
from numpy.typing import NDArray

BLOCK = 16_384
"""Rows per block."""
_DENSE = 4
"""A block is read whole if more than one in this many of its rows is needed."""
_ROUNDING = 2.0**-18
"""Relative slack of a bound, covering rounding of the bounds themselves."""

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Places = NDArray[np.int64]
Fetch = Callable[[Places], Floats]
"""Reads the float32 rows at places from storage."""


class _Block:
    def __init__(self, dimension: int) -> None:
        self.small = np.empty((BLOCK, dimension), np.int8)
        self.scales = np.zeros(BLOCK, np.float32)
        self.whole: Floats | None = np.empty((BLOCK, dimension), np.float32)


class VectorRows:
    """Rows of one dimension by place; up to `whole_up_to` of them also at full precision."""

    def __init__(self, dimension: int, whole_up_to: int) -> None:
        self._dimension = dimension
        self._whole_up_to = whole_up_to
        self._blocks: list[_Block] = []
        self._size = 0
        self._error = self._longest = 0.0
        """The largest |x − x'| and |x'|."""

    def __len__(self) -> int:
        return self._size

    @property
    def whole(self) -> bool:
        """Whether all rows are here at full precision."""
        return self._size <= self._whole_up_to

    def extend(self, rows: Floats) -> None:
        """Appends [n, dimension]."""
        done = 0
        while done < len(rows):
            block, start = divmod(self._size, BLOCK)
            if not start:
                self._blocks.append(_Block(self._dimension))
            count = min(BLOCK - start, len(rows) - done)
            self._fill(self._blocks[block], slice(start, start + count), rows[done : done + count])
            done, self._size = done + count, self._size + count
            if not self.whole:
                self._forget_whole()

    def scan(self, question: Floats, places: Places) -> tuple[Floats, float]:
        """Scores of the rows at sorted `places`, [len(places)], and each one's error bound."""
        scores = np.empty(len(places), np.float32)
        asked, scale = _small(question.astype(np.float64)[None])
        borders = np.searchsorted(places, np.arange(0, (len(self._blocks) + 1) * BLOCK, BLOCK))
        for number, block in enumerate(self._blocks):
            start, end = int(borders[number]), int(borders[number + 1])
            if start < end:
                _scan(block, asked, places[start:end] - number * BLOCK, scores[start:end])
        scores *= scale[0]
        return scores, self._off(question.astype(np.float64), asked[0] * scale[0])

    def _off(self, question: Doubles, rounded: Doubles) -> float:
        """The bound above, for the row with the largest error and the longest one."""
        length, error = float(np.linalg.norm(question)), float(np.linalg.norm(question - rounded))
        return (
            self._error * length + self._longest * error + _ROUNDING * (self._longest + self._error) * (length + error)
        )

    def rows(self, places: Places) -> Floats:
        """Full-precision copies of the rows at `places`, in that order; requires `whole`."""
        found = np.empty((len(places), self._dimension), np.float32)
        blocks = places // BLOCK
        for number in np.unique(blocks).tolist():
            here = blocks == number
            whole = self._blocks[number].whole
            assert whole is not None
            found[here] = whole[places[here] % BLOCK]
        return found

    def _fill(self, block: _Block, part: slice, rows: Floats) -> None:
        small, scales = _small(rows)
        back = small * scales[:, None].astype(np.float64)
        self._error = max(self._error, float(np.sqrt(((rows - back) ** 2).sum(axis=1).max())))
        self._longest = max(self._longest, float(np.sqrt((back**2).sum(axis=1).max())))
        block.small[part], block.scales[part] = small, scales
        if block.whole is not None:
            block.whole[part] = rows

    def _forget_whole(self) -> None:
        for block in self._blocks:
            block.whole = None


def exact_scores(rows: Floats, question: Floats) -> Doubles:
    """In float64, independent of which other rows are scored with them."""
    return (rows.astype(np.float64) * question.astype(np.float64)).sum(axis=1)


def _small(rows: NDArray[np.floating[Any]]) -> tuple[NDArray[np.int8], Floats]:
    """Each row in 127 steps on either side of zero, and the step size."""
    scales = (np.maximum(np.abs(rows).max(axis=1), 1e-30) / 127.0).astype(np.float32)
    return np.rint(np.clip(rows / scales[:, None], -127, 127)).astype(np.int8), scales


def _scan(block: _Block, asked: NDArray[np.int8], here: Places, scores: Floats) -> None:
    if len(here) == BLOCK:
        np.multiply(_products(block.small, asked), block.scales, out=scores)
    elif len(here) * _DENSE > BLOCK:
        scores[:] = (_products(block.small, asked) * block.scales)[here]
    else:
        scores[:] = _products(block.small[here], asked) * block.scales[here]


def _products(rows: NDArray[np.int8], asked: NDArray[np.int8]) -> Floats:
    return np.asarray(numkong.cdist(rows, asked, "dot", out_dtype="float32"))[:, 0]
