"""Batches: order, tombstones, replays, offsets, fencing, all or nothing."""

import pytest

from headrace.foundation.errors import FencedError
from headrace.knowledge.query import AsOf, Counts
from headrace.knowledge.store import KnowledgeStore, StoreBatch, StoreOptions
from headrace.testing.knowledge_conformance.builders import (
    DIMENSION,
    GENERATION,
    LATER,
    TOPIC,
    all_documents,
    batch,
    put,
    question,
    revision,
    unit_vector,
)
from headrace.testing.knowledge_conformance.place import StorePlace, Stores


class ApplyConformance(StorePlace):
    def test_a_document_is_found_as_it_is_now(self, store: KnowledgeStore, epoch: int) -> None:
        report = store.apply(epoch, batch(revision("a", 1, "one\n\ntwo"), revision("b", 2, "three")))
        put(store, epoch, revision("a", 3, "four"))

        assert (report.applied, report.ignored, report.chunks) == (2, 0, 3)
        assert all_documents(store) == {"a": "v3", "b": "v2"}
        assert store.counts(GENERATION.id, AsOf(LATER)) == Counts(2, 2, 0)

    def test_what_is_not_newer_than_the_newest_is_ignored(self, store: KnowledgeStore, epoch: int) -> None:
        put(store, epoch, revision("a", 5, "five"))

        report = store.apply(
            epoch, batch(revision("a", 5, "again", at=6), revision("a", 4, "four", at=7), revision("a", 6, "six"))
        )

        assert (report.applied, report.ignored) == (1, 2)
        assert all_documents(store) == {"a": "v6"}

    def test_orders_compare_byte_by_byte(self, store: KnowledgeStore, epoch: int) -> None:
        for order in ("A", "B", "Z", "a", "ä", "ﬀ", "😀"):
            assert store.apply(epoch, batch(revision("d", order, "text", at=1))).applied == 1
        for order in ("B", "ﬀ", "😀"):
            assert store.apply(epoch, batch(revision("d", order, "text", at=1))).ignored == 1

    def test_a_tombstone_outlives_whatever_came_before_it(self, store: KnowledgeStore, epoch: int) -> None:
        early = batch(revision("a", 1, "one"), revision("b", 2, "two"))
        store.apply(epoch, early)
        put(store, epoch, revision("a", 3, None), revision("never there", 4, None))

        report = store.apply(epoch, early)

        assert report.applied == 0
        assert all_documents(store) == {"b": "v2"}
        assert store.counts(GENERATION.id, AsOf(LATER)) == Counts(1, 1, 2)
        assert store.apply(epoch, batch(revision("never there", 3, "late"))).ignored == 1
        put(store, epoch, revision("a", 5, "back"))
        assert all_documents(store) == {"a": "v5", "b": "v2"}
        assert store.counts(GENERATION.id, AsOf(LATER)) == Counts(2, 2, 1)

    def test_overlapping_replays_change_nothing(self, store: KnowledgeStore, epoch: int, stores: Stores) -> None:
        changes = [revision(f"d{n % 4}", n, None if n % 5 == 4 else f"text {n}\n\nmore {n}") for n in range(1, 21)]
        once, first = stores.prepared()
        for n in range(0, 20, 5):
            once.apply(first, batch(*changes[n : n + 5], offsets=(n, n + 5)))
        for start, end in [(0, 7), (3, 9), (0, 12), (7, 20), (0, 20), (11, 15)]:
            store.apply(epoch, batch(*changes[start:end], offsets=(start, end)))

        for at in range(22):
            assert store.search(question("text 7 more", at=at)) == once.search(question("text 7 more", at=at))
            assert store.counts(GENERATION.id, AsOf(at)) == once.counts(GENERATION.id, AsOf(at))
        assert store.offset(TOPIC) == once.offset(TOPIC) == 20

    def test_several_versions_in_one_batch_are_all_remembered(self, store: KnowledgeStore, epoch: int) -> None:
        store.apply(epoch, batch(*(revision("a", n, f"text {n}", at=n * 10) for n in range(1, 4))))

        assert [all_documents(store, at).get("a") for at in (9, 10, 25, 30)] == [None, "v1", "v2", "v3"]

    def test_offsets_never_go_back(self, store: KnowledgeStore, epoch: int) -> None:
        assert store.offset(TOPIC) == 0
        for first, after, expected in [(0, 4, 4), (2, 3, 4), (2, 6, 6)]:
            store.apply(epoch, StoreBatch((), {TOPIC: (first, after)}))
            assert store.offset(TOPIC) == expected
        store.apply(epoch, StoreBatch((), {"other": (0, 1)}))
        assert (store.offset(TOPIC), store.offset("other")) == (6, 1)

    def test_the_writers_small_values_are_kept_until_deleted(
        self, store: KnowledgeStore, epoch: int, stores: Stores, options: StoreOptions
    ) -> None:
        store.apply(epoch, StoreBatch((), state={"k": b"\x00\xff", "l": b""}))
        store.apply(epoch, StoreBatch((), state={"l": None}))

        again = stores.open(options)
        assert (again.state("k"), again.state("l"), again.state("m")) == (b"\x00\xff", None, None)

    def test_a_new_writer_fences_the_one_before(
        self, store: KnowledgeStore, epoch: int, stores: Stores, options: StoreOptions
    ) -> None:
        put(store, epoch, revision("a", 1, "one"))
        other = stores.open(options)
        newer = other.acquire("the next")
        assert newer > epoch

        with pytest.raises(FencedError):
            store.apply(epoch, StoreBatch([revision("a", 2, None)], {TOPIC: (0, 1)}))
        with pytest.raises(FencedError):
            store.keep_vectors(epoch, GENERATION.model, {"0" * 32: unit_vector("x", DIMENSION)})
        with pytest.raises(FencedError):
            store.put_generation(epoch, GENERATION)
        with pytest.raises(FencedError):
            store.drop_generation(epoch, GENERATION.id)
        with pytest.raises(FencedError):
            store.purge(epoch, LATER)
        with pytest.raises(FencedError):
            store.backfill(epoch, GENERATION.id, (), {})

        assert (all_documents(store), store.offset(TOPIC)) == ({"a": "v1"}, 0)
        put(other, newer, revision("a", 2, "two"))
        assert all_documents(store) == {"a": "v2"}

    def test_purge_forgets_what_ended_and_keeps_tombstones(self, store: KnowledgeStore, epoch: int) -> None:
        put(store, epoch, *(revision("a", n, f"text {n}") for n in (10, 20, 30)))
        put(store, epoch, revision("gone", 15, "text"), revision("gone", 25, None))

        assert store.purge(epoch, 20) == 0
        assert store.purge(epoch, 21) == 1
        assert all_documents(store, 19) == {"gone": "v15"}
        assert store.purge(epoch, LATER) == 2
        assert store.purge(epoch, LATER) == 0

        assert all_documents(store) == {"a": "v30"}
        assert all_documents(store, 20) == {}
        assert store.counts(GENERATION.id, AsOf(LATER)) == Counts(1, 1, 1)
        assert store.apply(epoch, batch(revision("gone", 24, "back", at=40))).ignored == 1
        assert store.apply(epoch, batch(revision("a", 30, "again", at=40))).ignored == 1

    def test_everything_is_there_after_closing_and_opening(
        self, store: KnowledgeStore, epoch: int, stores: Stores, options: StoreOptions
    ) -> None:
        store.apply(epoch, batch(revision("a", 1, "one\n\ntwo", title="T", metadata={"k": 1.0}), offsets=(0, 9)))
        before = store.search(question("one"))
        generations = store.generations()
        store.close()

        again = stores.open(options)
        assert again.search(question("one")) == before != []
        assert (again.offset(TOPIC), again.generations()) == (9, generations)
        assert again.acquire("next") > epoch
