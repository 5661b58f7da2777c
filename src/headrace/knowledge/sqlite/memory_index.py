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
    """Chunks are stored in key order at numbered places, and so are vectors."""

    def __init__(self, generation: GenerationRow, whole_up_to: int) -> None:
        """`whole_up_to`: how many vectors are kept at full precision; beyond that, final scores read them from the file."""
        self.generation = generation
        self.lock = Lock()
        self.seq = -1
        """The last transaction it contains."""
        self.purged = 0
        """The last purge it has applied."""
        self.garbage = 0.0
        """Fraction of the chunks that are no longer in the file."""
        self.intervals = Intervals()
        self.keys: Column[np.int64] = Column(np.int64)
        self.slots: Column[np.int32] = Column(np.int32)
        """Each chunk's version slot."""
        self.lengths: Column[np.int32] = Column(np.int32)
        self.vector_places: Column[np.int32] = Column(np.int32)
        """Each chunk's vector place."""
        self.vector_keys: Column[np.int64] = Column(np.int64)
        self.vectors = VectorRows(generation.dimension, whole_up_to)
        self.postings = Postings()
        self.neighbours: Neighbours | None = None
        """Created once there is much to search."""
        self._moments = Moments()

    def close(self) -> None:
        """Stops a running build; queries in progress continue."""
        if self.neighbours is not None:
            self.neighbours.close()

    def changed(self) -> None:
        """Invalidates existing views."""
        self._moments.forget()

    def view(self, as_of: AsOf, *, canary: bool) -> View:
        """What is visible at that time."""
        return self._moments.view(self.intervals, self.slots.values, self.lengths.values, as_of, canary=canary)

    def chunks_of(self, revisions: NDArray[np.int64]) -> NDArray[np.bool_]:
        """For each chunk, whether its version is one of these (sorted keys)."""
        allowed = np.zeros(len(self.intervals.keys), np.bool_)
        allowed[self.intervals.known(revisions)] = True
        return allowed[self.slots.values]
