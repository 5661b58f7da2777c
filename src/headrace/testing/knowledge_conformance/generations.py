"""Generations: built from truth beside the old one, switched by one pointer, dropped whole."""

from dataclasses import replace

import pytest

from headrace.foundation.errors import NotFoundError
from headrace.knowledge.query import AsOf, Counts
from headrace.knowledge.revision import CANARY
from headrace.knowledge.store import Backfill, KnowledgeStore
from headrace.testing.knowledge_conformance.builders import (
    DIMENSION,
    GENERATION,
    LATER,
    NEXT_GENERATION,
    TOPIC,
    batch,
    cut,
    found,
    put,
    question,
    revision,
    unit_vector,
)
from headrace.testing.knowledge_conformance.place import StorePlace

BOTH = (GENERATION, NEXT_GENERATION)


def backfill_all(store: KnowledgeStore, epoch: int, step: int = 2) -> int:
    """Cuts what is there for `NEXT_GENERATION`, as the index does. Returns how many versions."""
    done = 0
    while documents := store.not_in_generation(NEXT_GENERATION.id, step):
        parts = [Backfill(one.key, cut(one.text, one.title)) for one in documents]
        vectors = {
            chunk.hash: unit_vector(chunk.embedded, NEXT_GENERATION.dimension)
            for part in parts
            for chunk in part.chunks
        }
        store.backfill(epoch, NEXT_GENERATION.id, parts, vectors)
        done += len(documents)
    return done


class GenerationConformance(StorePlace):
    def test_generations_are_kept_oldest_first_and_change_their_state(self, store: KnowledgeStore, epoch: int) -> None:
        store.put_generation(epoch, NEXT_GENERATION)
        assert store.generations() == [GENERATION, NEXT_GENERATION]

        store.put_generation(epoch, replace(NEXT_GENERATION, state="active", activated_ms=5))
        old, new = store.generations()

        assert (old.id, old.state) == (GENERATION.id, "kept")
        assert (new.state, new.activated_ms) == ("active", 5)
        store.put_generation(epoch, replace(GENERATION, state="active", activated_ms=6))
        assert [one.state for one in store.generations()] == ["active", "kept"]

    def test_a_cleared_store_finds_nothing_and_takes_everything_in_again(
        self, store: KnowledgeStore, epoch: int
    ) -> None:
        first = revision("d1", 1, "first text")
        store.apply(epoch, replace(batch(first, offsets=(0, 7)), state={"kept": b"x"}))
        assert found(store.search(question("first text")))

        store.clear(epoch)

        assert (store.offset(TOPIC), store.state("kept"), store.generations()) == (0, None, [])
        assert store.document("d1", AsOf(LATER)) is None
        store.put_generation(epoch, GENERATION)
        assert found(store.search(question("first text"))) == []
        put(store, epoch, first)
        assert found(store.search(question("first text")))

    def test_a_new_generation_is_filled_from_truth_while_changes_go_to_both(
        self, store: KnowledgeStore, epoch: int
    ) -> None:
        put(store, epoch, *(revision(f"d{n}", n, f"text {n}\n\nmore {n}", title="T") for n in range(1, 6)))
        put(store, epoch, revision("d1", 10, "changed"), revision("d2", 11, None), revision(CANARY, 12, "canary"))
        store.put_generation(epoch, NEXT_GENERATION)
        store.apply(epoch, batch(revision("d3", 20, "live", generations=BOTH), generations=BOTH))

        missing = store.not_in_generation(NEXT_GENERATION.id, 100)
        assert [(one.document, one.version) for one in missing] == [
            ("d1", "v1"), ("d2", "v2"), ("d3", "v3"), ("d4", "v4"), ("d5", "v5"), ("d1", "v10"),
        ]  # fmt: skip
        assert [one.key for one in missing] == sorted(one.key for one in missing)
        assert missing[0].text == "text 1\n\nmore 1"
        assert backfill_all(store, epoch) == 6
        assert store.not_in_generation(NEXT_GENERATION.id, 100) == []

        for at in (0, 3, 5, 10, 11, 20, LATER):
            counts = [store.counts(one.id, AsOf(at)) for one in BOTH]
            assert counts[0] == counts[1]
            words = [store.search(question("text 3 more", at=at, mode="keyword", generation=one)) for one in BOTH]
            assert {hit[:2] for hit in found(words[0])} == {hit[:2] for hit in found(words[1])}
            scores = [sorted(hit.score for hit in hits) for hits in words]
            assert scores[0] == pytest.approx(scores[1])
        assert len(store.search(question("live", mode="vector", generation=NEXT_GENERATION))) == 6

    def test_backfilling_again_is_harmless(self, store: KnowledgeStore, epoch: int) -> None:
        put(store, epoch, revision("a", 1, "one\n\ntwo"), revision("nothing in it", 2, ""))
        store.put_generation(epoch, NEXT_GENERATION)
        documents = store.not_in_generation(NEXT_GENERATION.id, 10)
        chunks = cut("one\n\ntwo")
        vectors = {chunk.hash: unit_vector(chunk.embedded, 4) for chunk in chunks}
        parts = [Backfill(documents[0].key, chunks), Backfill(documents[1].key, ())]
        for _ in range(3):
            store.backfill(epoch, NEXT_GENERATION.id, parts, vectors)

        assert store.not_in_generation(NEXT_GENERATION.id, 10) == []
        assert store.counts(NEXT_GENERATION.id, AsOf(LATER)).chunks == 2

    def test_a_dropped_generation_goes_with_its_chunks_and_vectors(self, store: KnowledgeStore, epoch: int) -> None:
        store.put_generation(epoch, NEXT_GENERATION)
        revised = revision("a", 1, "one\n\ntwo", generations=BOTH)
        store.apply(epoch, batch(revised, generations=BOTH))
        hashes = [chunk.hash for chunk in revised.chunks[GENERATION.id]]
        before = store.search(question("one"))

        store.drop_generation(epoch, NEXT_GENERATION.id)

        assert [one.id for one in store.generations()] == [GENERATION.id]
        assert store.missing_vectors(NEXT_GENERATION.model, hashes) == hashes
        assert store.missing_vectors(GENERATION.model, hashes) == []
        assert store.search(question("one")) == before
        with pytest.raises(NotFoundError):
            store.search(question("one", generation=NEXT_GENERATION))
        with pytest.raises(NotFoundError):
            store.drop_generation(epoch, NEXT_GENERATION.id)
        store.put_generation(epoch, NEXT_GENERATION)
        assert store.counts(NEXT_GENERATION.id, AsOf(LATER)).chunks == 0
        assert len(store.not_in_generation(NEXT_GENERATION.id, 10)) == 1

    def test_a_vector_that_two_generations_use_outlives_one_of_them(self, store: KnowledgeStore, epoch: int) -> None:
        sister = replace(GENERATION, chunker='{"other": true}', state="building")
        both = (GENERATION, sister)
        store.put_generation(epoch, sister)
        revised = revision("a", 1, "one", generations=both)
        store.apply(epoch, batch(revised, generations=both))
        hashes = [chunk.hash for chunk in revised.chunks[GENERATION.id]]

        store.drop_generation(epoch, sister.id)
        assert store.missing_vectors(GENERATION.model, hashes) == []
        assert len(store.search(question("one"))) == 1

    def test_purged_versions_need_no_backfill(self, store: KnowledgeStore, epoch: int) -> None:
        put(store, epoch, revision("a", 1, "one"), revision("a", 2, "two"))
        store.put_generation(epoch, NEXT_GENERATION)
        store.purge(epoch, LATER)

        assert [one.version for one in store.not_in_generation(NEXT_GENERATION.id, 10)] == ["v2"]
        assert store.counts(GENERATION.id, AsOf(LATER)) == Counts(1, 1, 0)
        assert NEXT_GENERATION.dimension != DIMENSION
