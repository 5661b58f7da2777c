"""A question to the index → candidates, ranked as every back end ranks them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from headrace.knowledge.query import StoreQuery, Vector
from headrace.knowledge.ranking import DEPTH, Candidate, fuse, idf, term_scores
from headrace.knowledge.sqlite.memory_index import MemoryIndex
from headrace.knowledge.sqlite.moments import View

Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Ranked:
    """What goes into the answer, best first, and the rankings that it was made of; by chunk key."""

    best: list[Candidate]
    vector: list[Candidate] = field(default_factory=list[Candidate])
    keyword: list[Candidate] = field(default_factory=list[Candidate])


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as the index takes it."""

    query: StoreQuery
    vector: Vector | None
    terms: Mapping[str, int]
    """The numbers of those of its terms that any chunk ever had."""
    allowed: NDArray[np.bool_] | None
    """Of each chunk, whether the filter lets it through; None: there is no filter."""


def rank(index: MemoryIndex, asked: Asked) -> Ranked:
    """The best `limit` chunks."""
    query = asked.query
    view = index.view(query.as_of, canary=query.canary)
    depth = query.limit if query.mode != "hybrid" else max(DEPTH, query.limit)
    vector = by_vector(index, view, asked, depth) if query.mode != "keyword" else []
    keyword = by_terms(index, view, asked, depth) if query.mode != "vector" else []
    best = {"vector": vector, "keyword": keyword}.get(query.mode)
    return Ranked(fuse((vector, keyword), query.limit) if best is None else best, vector, keyword)


def by_vector(index: MemoryIndex, view: View, asked: Asked, depth: int) -> list[Candidate]:
    """Every visible chunk's score in float32; those that may be among the best again in float64."""
    assert asked.vector is not None
    places = view.places if asked.allowed is None else np.flatnonzero(view.chunks & asked.allowed)
    vectors = index.vector_places.values[places].astype(np.int64)
    if not len(places):
        return []
    if (vectors[1:] > vectors[:-1]).all():
        rough = index.vectors.scan(asked.vector, vectors)
    else:
        unique, back = np.unique(vectors, return_inverse=True)
        rough = index.vectors.scan(asked.vector, unique)[back]
    if len(places) > depth:
        slack = 2.0 * index.vectors.error * max(1.0, float(np.linalg.norm(asked.vector)))
        close = np.flatnonzero(rough >= np.partition(rough, -depth)[-depth] - slack)
        places, vectors = places[close], vectors[close]
    return _best(index, places, index.vectors.exact(asked.vector, vectors), depth)


def by_terms(index: MemoryIndex, view: View, asked: Asked, depth: int) -> list[Candidate]:
    """BM25 over the chunks that are visible; document frequencies and lengths are theirs alone, filter or not."""
    found: list[Places] = []
    gained: list[NDArray[np.float64]] = []
    for term, times in Counter(asked.query.terms).items():
        number = asked.terms.get(term)
        if number is None:
            continue
        places, counts = index.postings.of(number)
        seen = view.chunks[places]
        weight = times * idf(int(np.count_nonzero(seen)), len(view.places))
        if asked.allowed is not None:
            seen &= asked.allowed[places]
        places = places[seen]
        lengths = index.lengths.values[places].astype(np.float64)
        found.append(places.astype(np.int64))
        gained.append(
            term_scores(counts[seen].astype(np.float64), lengths, weight=weight, mean_length=view.mean_length)
        )
    return _best(index, *_summed(found, gained), depth)


def _summed(found: Sequence[Places], gained: Sequence[NDArray[np.float64]]) -> tuple[Places, NDArray[np.float64]]:
    """Each chunk once, with the sum over the terms, added in their order."""
    if not found:
        return np.empty(0, np.int64), np.empty(0, np.float64)
    places, back = np.unique(np.concatenate(found), return_inverse=True)
    return places, np.bincount(back, np.concatenate(gained), len(places))


def _best(index: MemoryIndex, places: Places, scores: NDArray[np.float64], depth: int) -> list[Candidate]:
    """Highest scores first; equal ones in the order of their keys, which is that of their places."""
    if len(places) > depth:
        close = np.flatnonzero(scores >= np.partition(scores, -depth)[-depth])
        places, scores = places[close], scores[close]
    order = np.lexsort((places, -scores))[:depth]
    keys = index.keys.values[places[order]].tolist()
    return [Candidate(key, score) for key, score in zip(keys, scores[order].tolist(), strict=True)]
