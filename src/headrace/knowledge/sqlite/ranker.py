"""A query to the index → candidates, ranked as in every back end."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from headrace.knowledge.query import StoreQuery, Vector
from headrace.knowledge.ranking import DEPTH, Candidate, fuse, idf, term_scores
from headrace.knowledge.sqlite.memory_index import MemoryIndex
from headrace.knowledge.sqlite.moments import View
from headrace.knowledge.sqlite.vector_rows import Fetch, exact_scores

Places = NDArray[np.int64]
Near = Callable[[View, Vector, int], tuple[Places, Places] | None]
"""(view, query, how many) → nearby chunks, and chunks not examined; None: unavailable."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """The result, best first, and the rankings behind it; by chunk key."""

    best: list[Candidate]
    vector: list[Candidate] = field(default_factory=list[Candidate])
    keyword: list[Candidate] = field(default_factory=list[Candidate])


@dataclass(frozen=True, slots=True)
class Asked:
    """A query in the form that the index takes."""

    query: StoreQuery
    vector: Vector | None
    terms: Mapping[str, int]
    """The numbers of those of its terms that any chunk ever contained."""
    allowed: NDArray[np.bool_] | None
    """For each chunk, whether it passes the filter; None: no filter."""
    fetch: Fetch
    """The float32 vectors of keys, from the file."""
    near: Near | None = None
    """The approximate index, if it may be used."""


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
    """The nearest by the approximate index if it may be used, otherwise the exact best of all visible chunks that pass the filter."""
    assert asked.vector is not None
    if asked.near is not None and asked.allowed is None:
        found = asked.near(view, asked.vector, depth)
        if found is not None:
            places, rest = found
            places = np.union1d(places, closest(index, asked.vector, rest, depth))
            return _scored(index, asked, places, depth)
    places = view.places if asked.allowed is None else np.flatnonzero(view.chunks & asked.allowed)
    return _scored(index, asked, closest(index, asked.vector, places, depth), depth)


def closest(index: MemoryIndex, question: Vector, places: Places, depth: int) -> Places:
    """The chunks that may be among the best `depth`: none of the best is missing."""
    if len(places) <= depth:
        return places
    vectors = index.vector_places.values[places].astype(np.int64)
    if (vectors[1:] > vectors[:-1]).all():
        scores, off = index.vectors.scan(question, vectors)
    else:
        unique, back = np.unique(vectors, return_inverse=True)
        scores, off = index.vectors.scan(question, unique)
        scores = scores[back]
    least = np.float32(float(np.partition(scores, -depth)[-depth]) - 2.0 * off)
    return places[scores >= np.nextafter(least, np.float32(-np.inf))]  # rounding to float32 must not raise the bound


def _scored(index: MemoryIndex, asked: Asked, places: Places, depth: int) -> list[Candidate]:
    """Scores from float32, summed in float64."""
    assert asked.vector is not None
    vectors = index.vector_places.values[places].astype(np.int64)
    rows = index.vectors.rows(vectors) if index.vectors.whole else asked.fetch(index.vector_keys.values[vectors])
    return _best(index, places, exact_scores(rows, asked.vector), depth)


def by_terms(index: MemoryIndex, view: View, asked: Asked, depth: int) -> list[Candidate]:
    """BM25 over visible chunks; document frequencies and lengths are theirs, filter or not."""
    scores = np.zeros(len(index.keys), np.float64)
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
        scores[places] += term_scores(
            counts[seen].astype(np.float64), lengths, weight=weight, mean_length=view.mean_length
        )
    places = np.flatnonzero(scores)
    return _best(index, places, scores[places], depth)


def _best(index: MemoryIndex, places: Places, scores: NDArray[np.float64], depth: int) -> list[Candidate]:
    """Highest scores first; ties in key order, which is the order of places."""
    if len(places) > depth:
        close = np.flatnonzero(scores >= np.partition(scores, -depth)[-depth])
        places, scores = places[close], scores[close]
    order = np.lexsort((places, -scores))[:depth]
    keys = index.keys.values[places[order]].tolist()
    return [Candidate(key, score) for key, score in zip(keys, scores[order].tolist(), strict=True)]
