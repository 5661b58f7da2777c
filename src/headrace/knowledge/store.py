"""The port to a knowledge store: the truth about documents, and the search over it.

One process writes (the `index` role), many read. A batch is one transaction: revisions, tombstones, chunks, vectors and the
offsets that were consumed become visible at once or not at all. Every query sees everything committed before it began.
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
    """The state directory; embedded stores lie in its folder `knowledge`."""
    url: str = field(default="", repr=False)
    """Of a server; may hold a password."""
    exact_up_to: int = 200_000
    """Visible chunks up to which the embedded index scans them all; beyond, it is approximate."""


@dataclass(frozen=True, slots=True)
class StoreBatch:
    """What one transaction writes."""

    revisions: Sequence[Revision]
    """In the order of their topic."""
    offsets: Mapping[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    """By topic: the first offset that the batch read, and the next one to read."""
    vectors: Mapping[str, Mapping[str, Vector]] = field(default_factory=dict[str, Mapping[str, Vector]])
    """By model and hash, those that the store may not have yet; [dimension], of length 1."""
    state: Mapping[str, bytes | None] = field(default_factory=dict[str, bytes | None])
    """The writer's own small values; None deletes."""


@dataclass(frozen=True, slots=True)
class ApplyReport:
    """What a batch did."""

    applied: int
    ignored: int
    """Revisions that were not newer than what was known, or below the offset that had been consumed."""
    chunks: int


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A version of a document as the store holds it, with what it takes to cut it again."""

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
    """Chunks of one stored version in a generation that is being built."""

    key: int
    chunks: tuple[Chunk, ...]


class KnowledgeStore(Protocol):
    """All methods are safe from several threads.

    Errors: UnavailableError and DiskFullError (nothing was written; call again), FencedError (another writer took over),
    NotFoundError (a generation that is not there), InvalidDeclarationError (a vector of another length than its generation's,
    or with numbers that are not finite: nothing of the batch is written), CorruptDataError, StateVersionError.
    """

    # -- the one writer

    def acquire(self, holder: str) -> int:
        """Fences the writer before; returns the epoch that every write must bring."""
        ...

    def offset(self, topic: str) -> int:
        """The next offset to read; 0 where nothing was consumed."""
        ...

    def state(self, key: str) -> bytes | None:
        """A value that a batch kept."""
        ...

    def missing_vectors(self, model: str, hashes: Sequence[str]) -> list[str]:
        """Those of `hashes` that have no vector of `model` yet, in order, without repeats."""
        ...

    def keep_vectors(self, epoch: int, model: str, vectors: Mapping[str, Vector]) -> None:
        """Durable before the batch that needs them: what was embedded once is never embedded again."""
        ...

    def apply(self, epoch: int, batch: StoreBatch) -> ApplyReport:
        """One transaction. A revision is ignored where the document has one of the same or a later order; tombstones count.

        The newest version wins from its start on, on both timelines (`revision.interval_ends`; starts: `visible_from`, and
        `valid_from_ms`, else since ever for a document's first version and `stream_ms` for every later one). Offsets never go
        back. InvalidDeclarationError where a chunk's vector is not there.
        """
        ...

    def put_generation(self, epoch: int, generation: Generation) -> None:
        """Adds it, or changes its state and times. At most one is active: making one active keeps the other, in one transaction."""
        ...

    def generations(self) -> list[Generation]:
        """All of them, oldest first."""
        ...

    def drop_generation(self, epoch: int, generation: str) -> None:
        """Removes it with its chunks, and vectors that nothing else uses."""
        ...

    def not_in_generation(self, generation: str, limit: int) -> list[StoredDocument]:
        """Versions (deletions and canaries left out) that are not cut for the generation yet, by key."""
        ...

    def backfill(self, epoch: int, generation: str, parts: Sequence[Backfill], vectors: Mapping[str, Vector]) -> None:
        """Chunks for versions that are there already; with no chunks, the version is remembered as done. Repeats are harmless."""
        ...

    def purge(self, epoch: int, before_ms: int) -> int:
        """Forgets versions whose intervals on the arrival timeline ended before then; tombstones stay. Returns how many went."""
        ...

    def clear(self, epoch: int) -> None:
        """One transaction: documents, versions, generations, vectors, offsets and state go. Searches that follow find nothing."""
        ...

    # -- the readers

    def search(self, query: StoreQuery) -> list[Hit]:
        """The best `query.limit` visible chunks, best first; equal scores go by the order in which the chunks came in."""
        ...

    def counts(self, generation: str, as_of: AsOf) -> Counts:
        """Visible documents and chunks."""
        ...

    def document(self, document: str, as_of: AsOf) -> StoredDocument | None:
        """The version that is visible then."""
        ...

    def changed(self, after: AsOf, upto_ms: int) -> list[ChangedDocument]:
        """Documents of which another version, or none, became visible in (after.at_ms, upto_ms] on that timeline.

        By time, the last change of each; canaries left out.
        """
        ...

    def close(self) -> None: ...


OpenStore = Callable[[StoreOptions], KnowledgeStore]
"""The signature behind the entry point group `headrace.knowledge_stores`."""
