"""A query to a store, and its result."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from headrace.knowledge.filters import Condition
from headrace.knowledge.revision import Scalar

Mode = Literal["vector", "keyword", "hybrid"]
Timeline = Literal["arrival", "event"]
Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class AsOf:
    """A point in time: a chunk is visible if its interval on that timeline contains `at_ms`."""

    at_ms: int
    timeline: Timeline = "arrival"


@dataclass(frozen=True, slots=True)
class StoreQuery:
    """One query to one generation; everything in the result comes from one snapshot."""

    generation: str
    as_of: AsOf
    mode: Mode = "hybrid"
    limit: int = 5
    vector: Vector | None = None
    """The query vector, [dimension], of length 1. Needed by the modes vector and hybrid."""
    terms: tuple[str, ...] = ()
    """The query's terms (`analysis.terms`), repeats included."""
    where: tuple[Condition, ...] = ()
    """All must match."""
    exact: bool = False
    """No approximate index, however many chunks there are. A time other than now is always exact."""
    current: bool = True
    """`as_of` is now: the index of what is currently visible may be used."""
    canary: bool = False
    """Finds only canaries."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk that was found, and its scores."""

    document: str
    version: str
    chunk: int
    text: str
    score: float
    """vector: cosine; keyword: BM25; hybrid: sum of reciprocal ranks."""
    headings: tuple[str, ...] = ()
    title: str = ""
    metadata: Mapping[str, Scalar] = field(default_factory=dict[str, Scalar])
    vector_rank: int | None = None
    """From 1; None: not among the semantic candidates."""
    vector_score: float | None = None
    keyword_rank: int | None = None
    keyword_score: float | None = None
    seen_ms: int = 0
    """When it became visible."""


@dataclass(frozen=True, slots=True)
class Counts:
    """The store's counts, without canaries."""

    documents: int
    chunks: int
    tombstones: int = 0


@dataclass(frozen=True, slots=True)
class ChangedDocument:
    """A document whose visible version changed or disappeared."""

    document: str
    version: str
    """The new version; for a deletion, the deletion's own."""
    deleted: bool
    at_ms: int
    """When it became visible."""
