"""Which chunks contain a term, and how often.

Sorted segments plus an unsorted tail: additions go to the tail, a full tail becomes a segment, and segments of
similar size are merged, so that there are few segments and each posting is merged few times.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_TAIL = 1 << 16
_PARTS = 64
"""Size of the tail before it becomes a segment."""
_GROWTH = 4
"""A segment is merged with the next one when that is not this much smaller."""
_AT_ONCE = 1 << 22
"""Postings moved at once by a merge: its extra memory."""

Places = NDArray[np.int32]
Counts = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.uint32]
Numbers = NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Segment:
    """Postings by term, then by chunk."""

    terms: Numbers
    """Sorted, unique."""
    starts: NDArray[np.int64]
    """Where each term's postings start; one entry more than there are terms."""
    chunks: Places
    counts: Counts

    def of(self, term: int) -> tuple[Places, NDArray[np.uint32]]:
        """The term's chunks and counts."""
        at = int(np.searchsorted(self.terms, term))
        if at == len(self.terms) or self.terms[at] != term:
            return self.chunks[:0], self.counts[:0].astype(np.uint32)
        part = slice(int(self.starts[at]), int(self.starts[at + 1]))
        return self.chunks[part], self.counts[part].astype(np.uint32)


class Postings:
    """Of all chunks."""

    def __init__(self) -> None:
        self._segments: list[Segment] = []
        self._tail: list[tuple[Numbers, Places, NDArray[np.uint32]]] = []
        self._waiting = 0

    def add(self, terms: Numbers, chunks: Places, counts: NDArray[np.uint32]) -> None:
        """One entry per term and chunk; chunks are larger than all those added before."""
        if not len(terms):
            return
        self._tail.append((terms, chunks, counts))
        self._waiting += len(terms)
        if len(self._tail) > _PARTS:
            self._tail = [_joined(self._tail)]
        if self._waiting >= _TAIL:
            self._segments.append(_segment(*_joined(self._tail)))
            self._tail, self._waiting = [], 0
            self._merge()

    def of(self, term: int) -> tuple[Places, NDArray[np.uint32]]:
        """The chunks that contain the term, in order, and its count in each."""
        parts = [segment.of(term) for segment in self._segments]
        for terms, chunks, counts in self._tail:
            here = np.flatnonzero(terms == term)
            if len(here):
                parts.append((chunks[here], counts[here]))
        if not parts:
            return np.empty(0, np.int32), np.empty(0, np.uint32)
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])

    def _merge(self) -> None:
        while len(self._segments) > 1 and len(self._segments[-2].chunks) <= _GROWTH * len(self._segments[-1].chunks):
            last, before = self._segments.pop(), self._segments.pop()
            self._segments.append(_merged(before, last))


def _joined(parts: list[tuple[Numbers, Places, NDArray[np.uint32]]]) -> tuple[Numbers, Places, NDArray[np.uint32]]:
    return (
        np.concatenate([part[0] for part in parts]),
        np.concatenate([part[1] for part in parts]),
        np.concatenate([part[2] for part in parts]),
    )


def _segment(terms: Numbers, chunks: Places, counts: NDArray[np.uint32]) -> Segment:
    order = np.argsort(terms, kind="stable")
    unique, firsts = np.unique(terms[order], return_index=True)
    starts = np.append(firsts, len(terms)).astype(np.int64)
    return Segment(unique, starts, chunks[order], _small(counts[order]))


def _small(counts: NDArray[np.uint32]) -> Counts:
    """In the smallest integer type that fits the largest value."""
    largest = int(counts.max(initial=0))
    if largest < 1 << 8:
        return counts.astype(np.uint8)
    return counts.astype(np.uint16) if largest < 1 << 16 else counts


def _merged(first: Segment, second: Segment) -> Segment:
    """Every term's postings of the first, then those of the second."""
    terms = np.union1d(first.terms, second.terms)
    sizes = np.zeros((2, len(terms)), np.int64)
    for row, one in enumerate((first, second)):
        sizes[row, np.searchsorted(terms, one.terms)] = np.diff(one.starts)
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes.sum(axis=0))])
    chunks = np.empty(int(starts[-1]), np.int32)
    counts = np.empty(int(starts[-1]), np.result_type(first.counts, second.counts))
    before = np.zeros(len(terms), np.int64)
    for row, one in enumerate((first, second)):
        at = np.searchsorted(terms, one.terms)
        _move(one, starts[at] + before[at], chunks, counts)
        before += sizes[row]
    return Segment(terms, starts, chunks, counts)


def _move(one: Segment, targets: NDArray[np.int64], chunks: Places, counts: Counts) -> None:
    """Copies each term's postings to their target position."""
    first = 0
    while first < len(one.terms):
        last = max(first + 1, int(np.searchsorted(one.starts, one.starts[first] + _AT_ONCE)))
        last = min(last, len(one.terms))
        source = slice(int(one.starts[first]), int(one.starts[last]))
        shift = np.repeat(targets[first:last] - one.starts[first:last], np.diff(one.starts[first : last + 1]))
        places = np.arange(source.start, source.stop, dtype=np.int64) + shift
        chunks[places], counts[places] = one.chunks[source], one.counts[source]
        first = last
