"""Documents, batches and questions with short names."""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from headrace.knowledge.analysis import term_counts, terms
from headrace.knowledge.filters import Condition
from headrace.knowledge.generation import Generation
from headrace.knowledge.query import AsOf, Hit, Mode, StoreQuery, Vector
from headrace.knowledge.revision import Chunk, DocumentChange, Revision, Scalar
from headrace.knowledge.store import KnowledgeStore, StoreBatch

TOPIC = "ns.kb.changes"
DIMENSION = 8
GENERATION = Generation("model/1", DIMENSION, "{}", state="active", created_ms=1)
NEXT_GENERATION = Generation("model/2", 4, "{}", state="building", created_ms=2)
LATER = 1 << 50
"""A moment after everything that the suite writes."""


def unit_vector(text: str, dimension: int = DIMENSION) -> Vector:
    """Derived from the text, of length 1."""
    seed = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
    drawn = np.random.default_rng(seed).standard_normal(dimension)
    return (drawn / np.linalg.norm(drawn)).astype(np.float32)


def cut(text: str, title: str = "") -> tuple[Chunk, ...]:
    """One chunk per paragraph."""
    headings = (title,) if title else ()
    chunks: list[Chunk] = []
    start = 0
    for index, part in enumerate(text.split("\n\n")):
        bare = Chunk(index, part, headings, start)
        chunks.append(Chunk(index, part, headings, start, term_counts(bare.embedded)))
        start += len(part) + 2
    return tuple(chunks)


def revision(
    document: str,
    order: int | str,
    text: str | None,
    *,
    at: int | None = None,
    valid: int | None = None,
    title: str = "",
    metadata: Mapping[str, Scalar] | None = None,
    generations: Sequence[Generation] = (GENERATION,),
) -> Revision:
    """A version of a document; without a text, its end. It is seen at `at`, else at its order."""
    written = order if isinstance(order, str) else f"{order:06d}"
    seen = at if at is not None else int(order)
    change = DocumentChange(
        document, f"v{order}", written, text is None, text or "", seen, seen, title, metadata or {}, valid
    )
    return Revision(change, {one.id: cut(text, title) for one in generations} if text is not None else {})


def batch(
    *revisions: Revision, offsets: tuple[int, int] | None = None, generations: Sequence[Generation] = (GENERATION,)
) -> StoreBatch:
    """With all vectors that its chunks need."""
    vectors = {
        one.model: {
            chunk.hash: unit_vector(chunk.embedded, one.dimension)
            for item in revisions
            for chunk in item.chunks.get(one.id, ())
        }
        for one in generations
    }
    return StoreBatch(revisions, {TOPIC: offsets} if offsets else {}, vectors)


def put(store: KnowledgeStore, epoch: int, *revisions: Revision) -> None:
    """One transaction per revision."""
    for one in revisions:
        store.apply(epoch, batch(one))


def question(
    text: str,
    *,
    at: AsOf | int = LATER,
    mode: Mode = "hybrid",
    limit: int = 10,
    where: tuple[Condition, ...] = (),
    exact: bool = True,
    generation: Generation = GENERATION,
    canary: bool = False,
) -> StoreQuery:
    """Asks for the text's terms and vector; a moment other than `LATER` is not now."""
    as_of = AsOf(at) if isinstance(at, int) else at
    return StoreQuery(
        generation.id, as_of, mode, limit, unit_vector(text, generation.dimension), terms(text), where, exact,
        current=as_of == AsOf(LATER), canary=canary,
    )  # fmt: skip


def found(hits: Sequence[Hit]) -> list[tuple[str, str, int]]:
    """Document, version and chunk of each."""
    return [(hit.document, hit.version, hit.chunk) for hit in hits]


def all_documents(store: KnowledgeStore, at: AsOf | int = LATER, *, canary: bool = False) -> dict[str, str]:
    """The visible version of each document, by an exact search for everything."""
    hits = store.search(question("anything", at=at, mode="vector", limit=10_000, canary=canary))
    return {hit.document: hit.version for hit in hits}
