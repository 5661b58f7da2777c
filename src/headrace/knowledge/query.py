"""What a store is asked, and what it answers."""

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
    """A moment to look from: a chunk is visible where its interval on that timeline holds `at_ms`."""

    at_ms: int
    timeline: Timeline = "arrival"


@dataclass(frozen=True, slots=True)
class StoreQuery:
    """One question to one generation; everything in the answer is of one snapshot."""

    generation: str
    as_of: AsOf
    mode: Mode = "hybrid"
    limit: int = 5
    vector: Vector | None = None
    """The question's vector, [dimension], of length 1. Needed by the modes vector and hybrid."""
    terms: tuple[str, ...] = ()
    """The question's terms (`analysis.terms`), repeats included."""
    where: tuple[Condition, ...] = ()
    """All must hold."""
    exact: bool = False
    """No approximate index, however many chunks there are. A moment other than now is always exact."""
    current: bool = True
    """`as_of` is now: an index over what is visible now may be used."""
    canary: bool = False
    """Finds canaries, and nothing else."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk that was found, and why."""

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
    """From 1; None: not among the candidates by meaning."""
    vector_score: float | None = None
    keyword_rank: int | None = None
    keyword_score: float | None = None
    seen_ms: int = 0
    """Since when it is visible."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How much there is, canaries left out."""

    documents: int
    chunks: int
    tombstones: int = 0


@dataclass(frozen=True, slots=True)
class ChangedDocument:
    """A document whose visible version became another one, or none."""

    document: str
    version: str
    """The new version; of a deletion, the deletion's own."""
    deleted: bool
    at_ms: int
    """When it became visible."""
