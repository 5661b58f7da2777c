"""The port to a knowledge store: the truth about documents, and search over it.

One process writes (the `index` role), many read. A batch is one transaction: revisions, tombstones, chunks, vectors and the
consumed offsets become visible together or not at all. Every query sees everything committed before it began.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from headrace.foundation.resource_id import ResourceId
from headrace.knowledge.generation import Generation
from headrace.knowledge.query import AsOf, ChangedDocument, Counts, Hit, StoreQuery, Vector
from headrace.knowledge.revision import Chunk, Revision, Scalar


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """Which store."""

    id: ResourceId
    state: Path
    """The state directory; embedded stores are in its folder `knowledge`."""
    url: str = field(default="", repr=False)
    """A server's URL; may contain a password."""
    exact_up_to: int = 200_000
    """Up to this many visible chunks the embedded index scans them all; beyond, it is approximate."""


@dataclass(frozen=True, slots=True)
class StoreBatch:
    """What one transaction writes."""

    revisions: Sequence[Revision]
    """In topic order."""
    offsets: Mapping[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    """By topic: the first offset that the batch read, and the next one to read."""
    vectors: Mapping[str, Mapping[str, Vector]] = field(default_factory=dict[str, Mapping[str, Vector]])
    """By model and hash, those that the store may lack; [dimension], of length 1."""
    state: Mapping[str, bytes | None] = field(default_factory=dict[str, bytes | None])
    """The writer's own small values; None deletes."""


@dataclass(frozen=True, slots=True)
class ApplyReport:
    """The result of a batch."""

    applied: int
    ignored: int
    """Revisions not newer than the known ones, or below the consumed offset."""
    chunks: int


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A stored version of a document, with what is needed to chunk it again."""

    key: int
    """The revision's key in the store."""
    document: str
    version: str
    title: str
    text: str
    media: str
    metadata: Mapping[str, Scalar]
    deleted: bool = False
    visible_from: int = 0
    visible_to: int = 0
    valid_from: int = 0
    valid_to: int = 0


@dataclass(frozen=True, slots=True)
class Backfill:
    """Chunks of a stored version in a generation being built."""

    key: int
    chunks: tuple[Chunk, ...]


class KnowledgeStore(Protocol):
    """All methods are thread-safe.

    Errors: UnavailableError and DiskFullError (nothing was written; call again), FencedError (another writer took over),
    NotFoundError (an unknown generation), InvalidDeclarationError (a vector of another length than its generation's,
    or with numbers that are not finite: nothing of the batch is written), CorruptDataError, StateVersionError.
    """

    # -- the one writer

    def acquire(self, holder: str) -> int:
        """Fences the previous writer; returns the epoch that every write must pass."""
        ...

    def offset(self, topic: str) -> int:
        """The next offset to read; 0 if nothing was consumed."""
        ...

    def state(self, key: str) -> bytes | None:
        """A value stored by a batch."""
        ...

    def missing_vectors(self, model: str, hashes: Sequence[str]) -> list[str]:
        """Those of `hashes` without a vector of `model`, in order, without duplicates."""
        ...

    def keep_vectors(self, epoch: int, model: str, vectors: Mapping[str, Vector]) -> None:
        """Stores vectors durably ahead of the batch that needs them: nothing is embedded twice."""
        ...

    def apply(self, epoch: int, batch: StoreBatch) -> ApplyReport:
        """One transaction. Ignores a revision if the document has one of the same or a later order, tombstones included.

        The newest version wins from its start on, on both timelines (`revision.interval_ends`; starts: `visible_from`, and
        `valid_from_ms`, otherwise the beginning of time for a document's first version and `stream_ms` for every later one). Offsets never go
        back. InvalidDeclarationError if a chunk's vector is missing.
        """
        ...

    def put_generation(self, epoch: int, generation: Generation) -> None:
        """Adds it, or changes its state and times. At most one is active: activating one makes the previous one kept, in one transaction."""
        ...

    def generations(self) -> list[Generation]:
        """All of them, oldest first."""
        ...

    def drop_generation(self, epoch: int, generation: str) -> None:
        """Removes it with its chunks and otherwise unused vectors."""
        ...

    def not_in_generation(self, generation: str, limit: int) -> list[StoredDocument]:
        """Versions (without deletions and canaries) not yet chunked for the generation, by key."""
        ...

    def backfill(self, epoch: int, generation: str, parts: Sequence[Backfill], vectors: Mapping[str, Vector]) -> None:
        """Chunks for existing versions; a version without chunks is marked as done. Repeats are harmless."""
        ...

    def purge(self, epoch: int, before_ms: int) -> int:
        """Purges versions whose intervals on the arrival timeline ended before then; tombstones stay. Returns how many."""
        ...

    def clear(self, epoch: int) -> None:
        """One transaction: deletes documents, versions, generations, vectors, offsets and state. Later searches find nothing."""
        ...

    # -- the readers

    def search(self, query: StoreQuery) -> list[Hit]:
        """The best `query.limit` visible chunks, best first; ties in order of insertion."""
        ...

    def counts(self, generation: str, as_of: AsOf) -> Counts:
        """Visible documents and chunks."""
        ...

    def document(self, document: str, as_of: AsOf) -> StoredDocument | None:
        """The version visible at that time."""
        ...

    def changed(self, after: AsOf, upto_ms: int) -> list[ChangedDocument]:
        """Documents whose visible version changed or disappeared in (after.at_ms, upto_ms] on that timeline.

        By time, each document's last change, without canaries.
        """
        ...

    def close(self) -> None: ...


OpenStore = Callable[[StoreOptions], KnowledgeStore]
"""The signature of the entry point group `headrace.knowledge_stores`."""
