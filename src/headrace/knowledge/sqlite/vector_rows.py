"""Vectors in memory, in blocks: growing copies nothing, and a scan reads one block after the other."""

import numpy as np
from numpy.typing import NDArray

BLOCK = 4_096
"""Rows of a block."""
_DENSE = 4
"""A block is read whole where more than one in so many of its rows is asked for."""

Floats = NDArray[np.float32]
Places = NDArray[np.int64]


class VectorRows:
    """Rows of one dimension by their place, as float32."""

    def __init__(self, dimension: int) -> None:
        self._dimension = dimension
        self._blocks: list[Floats] = []
        self._size = 0
        self._longest = 0.0

    def __len__(self) -> int:
        return self._size

    @property
    def error(self) -> float:
        """How far a score of `scan` may be off, for a question of length 1: float32 sums of `dimension` products."""
        return self._dimension * 2.0**-23 * max(1.0, self._longest)

    def extend(self, rows: Floats) -> None:
        """[n, dimension], to the end."""
        if len(rows):
            self._longest = max(self._longest, float(np.sqrt((rows.astype(np.float64) ** 2).sum(axis=1).max())))
        done = 0
        while done < len(rows):
            block, start = divmod(self._size, BLOCK)
            if not start:
                self._blocks.append(np.empty((BLOCK, self._dimension), np.float32))
            count = min(BLOCK - start, len(rows) - done)
            self._blocks[block][start : start + count] = rows[done : done + count]
            done, self._size = done + count, self._size + count

    def scan(self, question: Floats, places: Places) -> Floats:
        """Scores of the rows at sorted `places`, each off by `error` at most: [len(places)]."""
        scores = np.empty(len(places), np.float32)
        firsts = np.arange(0, self._size + BLOCK, BLOCK)
        borders = np.searchsorted(places, firsts)
        for block, start, end in zip(self._blocks, borders, borders[1:], strict=False):
            if start < end:
                self._scan_block(block, question, places[start:end] % BLOCK, scores[start:end])
        return scores

    def exact(self, question: Floats, places: Places) -> NDArray[np.float64]:
        """Scores in float64, the same whichever other rows are asked for with them."""
        asked = question.astype(np.float64)
        scores = np.empty(len(places), np.float64)
        for first in range(0, len(places), BLOCK):
            some = places[first : first + BLOCK]
            scores[first : first + BLOCK] = (self.rows(some).astype(np.float64) * asked).sum(axis=1)
        return scores

    def rows(self, places: Places) -> Floats:
        """Copies of the rows at `places`, in that order."""
        found = np.empty((len(places), self._dimension), np.float32)
        blocks = places // BLOCK
        for block in np.unique(blocks).tolist():
            here = blocks == block
            found[here] = self._blocks[block][places[here] % BLOCK]
        return found

    def _scan_block(self, block: Floats, question: Floats, places: Places, out: Floats) -> None:
        if len(places) == BLOCK:
            np.dot(block, question, out=out)
        elif len(places) * _DENSE > BLOCK:
            out[:] = np.dot(block, question)[places]
        else:
            out[:] = np.dot(block[places], question)
