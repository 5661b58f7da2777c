"""Vectors: kept once, refused where they are wrong."""

import numpy as np
import pytest

from headrace.foundation.errors import InvalidDeclarationError, NotFoundError
from headrace.knowledge.query import AsOf, Counts, StoreQuery, Vector
from headrace.knowledge.store import KnowledgeStore, StoreBatch
from headrace.testing.knowledge_conformance.builders import (
    DIMENSION,
    GENERATION,
    LATER,
    TOPIC,
    all_documents,
    put,
    question,
    revision,
    unit_vector,
)
from headrace.testing.knowledge_conformance.place import StorePlace

WRONG = [
    pytest.param(unit_vector("short", DIMENSION - 1), id="short"),
    pytest.param(unit_vector("long", DIMENSION + 1), id="long"),
    pytest.param(np.full(DIMENSION, np.nan, np.float32), id="nan"),
    pytest.param(np.array([np.inf, *[0.0] * (DIMENSION - 1)], np.float32), id="infinite"),
]


class VectorConformance(StorePlace):
    def test_what_was_kept_once_is_not_missing_again(self, store: KnowledgeStore, epoch: int) -> None:
        revised = revision("a", 1, "one\n\ntwo\n\nthree")
        one, two, three = (chunk.hash for chunk in revised.chunks[GENERATION.id])
        assert store.missing_vectors(GENERATION.model, [three, one, three, two]) == [three, one, two]

        store.keep_vectors(epoch, GENERATION.model, {one: unit_vector("one"), two: unit_vector("two")})
        assert store.missing_vectors(GENERATION.model, [one, two, three]) == [three]
        assert store.missing_vectors("another model", [one]) == [one]
        store.apply(epoch, StoreBatch([revised], vectors={GENERATION.model: {three: unit_vector("three")}}))

        assert store.missing_vectors(GENERATION.model, [one, two, three]) == []
        assert store.missing_vectors(GENERATION.model, []) == []
        assert store.search(question("two", mode="vector"))[0].chunk == 1

    def test_keeping_a_vector_twice_is_harmless(self, store: KnowledgeStore, epoch: int) -> None:
        for _ in range(2):
            store.keep_vectors(epoch, GENERATION.model, {"0" * 32: unit_vector("x")})
        put(store, epoch, revision("a", 1, "same"), revision("b", 2, "same"))

        assert len(store.search(question("same", mode="vector"))) == 2

    @pytest.mark.parametrize("wrong", WRONG)
    def test_a_vector_that_is_wrong_is_refused_and_nothing_is_written(
        self, store: KnowledgeStore, epoch: int, wrong: Vector
    ) -> None:
        good, bad = revision("good", 1, "good"), revision("bad", 2, "bad")
        vectors = {
            good.chunks[GENERATION.id][0].hash: unit_vector("good"),
            bad.chunks[GENERATION.id][0].hash: wrong,
        }
        both = StoreBatch([good, bad], {TOPIC: (0, 2)}, {GENERATION.model: vectors}, {"k": b"v"})

        with pytest.raises(InvalidDeclarationError):
            store.apply(epoch, both)
        with pytest.raises(InvalidDeclarationError):
            store.keep_vectors(epoch, GENERATION.model, vectors)

        assert (store.offset(TOPIC), store.state("k"), all_documents(store)) == (0, None, {})
        assert store.counts(GENERATION.id, AsOf(LATER)) == Counts(0, 0, 0)
        assert store.missing_vectors(GENERATION.model, list(vectors)) == list(vectors)

    def test_a_chunk_without_a_vector_is_refused_and_nothing_is_written(
        self, store: KnowledgeStore, epoch: int
    ) -> None:
        with pytest.raises(InvalidDeclarationError):
            store.apply(epoch, StoreBatch([revision("a", 1, "one")], {TOPIC: (0, 1)}))

        assert (store.offset(TOPIC), all_documents(store)) == (0, {})

    @pytest.mark.parametrize("wrong", WRONG)
    def test_a_question_with_a_wrong_vector_is_refused(self, store: KnowledgeStore, epoch: int, wrong: Vector) -> None:
        put(store, epoch, revision("a", 1, "one"))
        for mode in ("vector", "hybrid"):
            with pytest.raises(InvalidDeclarationError):
                store.search(StoreQuery(GENERATION.id, AsOf(LATER), mode, vector=wrong, terms=("one",)))

    def test_a_question_to_a_generation_that_is_not_there_is_refused(self, store: KnowledgeStore, epoch: int) -> None:
        put(store, epoch, revision("a", 1, "one"))
        with pytest.raises(NotFoundError):
            store.search(StoreQuery("g0000000000", AsOf(LATER), vector=unit_vector("one"), terms=("one",)))
        with pytest.raises(NotFoundError):
            store.counts("g0000000000", AsOf(LATER))
