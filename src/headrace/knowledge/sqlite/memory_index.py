"""One generation in memory: its versions' intervals, its chunks, their vectors and terms. Guarded by its owner's lock."""

from threading import Lock

import numpy as np
from numpy.typing import NDArray

from headrace.knowledge.query import AsOf
from headrace.knowledge.sqlite.chunks import GenerationRow
from headrace.knowledge.sqlite.moments import Intervals, Moments, View
from headrace.knowledge.sqlite.neighbours import Neighbours
from headrace.knowledge.sqlite.postings import Postings
from headrace.knowledge.sqlite.rows import Column
from headrace.knowledge.sqlite.vector_rows import VectorRows


class MemoryIndex:
    """Chunks stand at places in the order of their keys, vectors likewise at theirs."""

    def __init__(self, generation: GenerationRow, whole_up_to: int) -> None:
        """`whole_up_to`: vectors that are held as they came; more are fetched from the file for their last scores."""
        self.generation = generation
        self.lock = Lock()
        self.seq = -1
        """The last transaction that it holds."""
        self.purged = 0
        """The last purge that it knows of."""
        self.garbage = 0.0
        """Part of the chunks that the file has forgotten."""
        self.intervals = Intervals()
        self.keys: Column[np.int64] = Column(np.int64)
        self.slots: Column[np.int32] = Column(np.int32)
        """Of each chunk, its version's slot."""
        self.lengths: Column[np.int32] = Column(np.int32)
        self.vector_places: Column[np.int32] = Column(np.int32)
        """Of each chunk, its vector's place."""
        self.vector_keys: Column[np.int64] = Column(np.int64)
        self.vectors = VectorRows(generation.dimension, whole_up_to)
        self.postings = Postings()
        self.neighbours: Neighbours | None = None
        """Made where there is much to search."""
        self._moments = Moments()

    def close(self) -> None:
        """Ends what is being built; questions that hold it go on."""
        if self.neighbours is not None:
            self.neighbours.close()

    def changed(self) -> None:
        """Views that were made before hold no longer."""
        self._moments.forget()

    def view(self, as_of: AsOf, *, canary: bool) -> View:
        """What is visible then."""
        return self._moments.view(self.intervals, self.slots.values, self.lengths.values, as_of, canary=canary)

    def chunks_of(self, revisions: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Of each chunk, whether its version is one of those (sorted keys)."""
        allowed = np.zeros(len(self.intervals.keys), np.bool_)
        allowed[self.intervals.known(revisions)] = True
        return allowed[self.slots.values]
