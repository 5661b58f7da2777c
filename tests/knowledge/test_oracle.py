"""The reference store answers cases worked out by hand."""

import math

import numpy as np
import pytest

from headrace.foundation.errors import FencedError, InvalidDeclarationError, NotFoundError
from headrace.knowledge.filters import parse_filter
from headrace.knowledge.generation import Generation
from headrace.knowledge.query import AsOf, ChangedDocument, Counts, Hit, Mode, StoreQuery, Vector
from headrace.knowledge.revision import CANARY, Chunk, DocumentChange, Revision, Scalar
from headrace.knowledge.store import Backfill, StoreBatch
from headrace.testing.knowledge_oracle import OracleStore

GENERATION = Generation("model", 2, "{}", state="active", created_ms=1)
NEXT = Generation("next", 2, "{}", created_ms=2)
EAST, NORTH = np.array([1, 0], np.float32), np.array([0, 1], np.float32)
NORTH_EAST = np.array([0.6, 0.8], np.float32)


class Written:
    """An oracle whose chunks, terms and vectors are given by hand."""

    def __init__(self) -> None:
        self.store = OracleStore()
        self.epoch = self.store.acquire("writer")
        self.store.put_generation(self.epoch, GENERATION)

    def put(
        self,
        document: str,
        order: int,
        terms: dict[str, int] | None,
        vector: Vector = EAST,
        *,
        at: int | None = None,
        valid: int | None = None,
        **metadata: Scalar,
    ) -> bool:
        """Whether it was applied. Without terms it is a deletion."""
        seen = order if at is None else at
        text = f"{document} {order}"
        change = DocumentChange(
            document,
            f"v{order}",
            f"{order:03d}",
            terms is None,
            text,
            seen,
            seen,
            metadata=metadata,
            valid_from_ms=valid,
        )
        chunks = () if terms is None else (Chunk(0, text, terms=terms),)
        vectors = {GENERATION.model: {chunk.hash: vector for chunk in chunks}}
        revision = Revision(change, {GENERATION.id: chunks} if chunks else {})
        return self.store.apply(self.epoch, StoreBatch([revision], vectors=vectors)).applied == 1

    def ask(
        self, mode: Mode, *terms: str, at: AsOf | int = 1_000, limit: int = 10, canary: bool = False, **where: object
    ) -> list[Hit]:
        """Towards the east."""
        as_of = AsOf(at) if isinstance(at, int) else at
        query = StoreQuery(GENERATION.id, as_of, mode, limit, EAST, terms, parse_filter(where), canary=canary)
        return self.store.search(query)


@pytest.fixture
def written() -> Written:
    """An empty store."""
    return Written()


def test_keywords_are_scored_by_bm25_as_it_is_written_down(written: Written) -> None:
    written.put("a", 1, {"fee": 2, "card": 2})
    written.put("b", 2, {"fee": 1, "limit": 1})
    written.put("c", 3, {"limit": 3})

    hits = written.ask("keyword", "fee")

    weight = math.log(1 + (3 - 2 + 0.5) / (2 + 0.5))
    mean = (4 + 2 + 3) / 3
    expected = [
        weight * 2 * 2.2 / (2 + 1.2 * (0.25 + 0.75 * 4 / mean)),
        weight * 1 * 2.2 / (1 + 1.2 * (0.25 + 0.75 * 2 / mean)),
    ]
    assert [hit.document for hit in hits] == ["a", "b"]
    assert [hit.score for hit in hits] == pytest.approx(expected)
    assert [hit.score for hit in written.ask("keyword", "fee", "fee")] == pytest.approx([2 * one for one in expected])
    assert written.ask("keyword", "absent") == written.ask("keyword") == []


def test_what_a_filter_hides_still_counts_for_the_weights(written: Written) -> None:
    written.put("a", 1, {"fee": 1}, team="x")
    written.put("b", 2, {"fee": 1}, team="y")

    everything, (filtered,) = written.ask("keyword", "fee"), written.ask("keyword", "fee", team="y")

    assert (filtered.document, filtered.score, filtered.keyword_rank) == ("b", everything[1].score, 1)


def test_the_future_changes_no_score_of_the_past(written: Written) -> None:
    written.put("a", 1, {"fee": 1, "card": 3})
    before = written.ask("hybrid", "fee", at=5)
    for order in range(10, 20):
        written.put(f"later {order}", order, {"fee": 1})

    assert written.ask("hybrid", "fee", at=5) == before != []


def test_vectors_are_ranked_by_cosine_and_equal_ones_by_the_order_of_arrival(written: Written) -> None:
    for order, (name, vector) in enumerate(
        [("north", NORTH), ("first", EAST), ("between", NORTH_EAST), ("second", EAST)]
    ):
        written.put(name, order + 1, {}, vector)

    hits = written.ask("vector", limit=3)

    assert [(hit.document, round(hit.score, 6), hit.vector_rank) for hit in hits] == [
        ("first", 1.0, 1), ("second", 1.0, 2), ("between", 0.6, 3),
    ]  # fmt: skip


def test_hybrid_adds_reciprocal_ranks(written: Written) -> None:
    written.put("words", 1, {"fee": 1}, NORTH)
    written.put("both", 2, {"fee": 1, "card": 1}, EAST)
    written.put("meaning", 3, {"card": 1}, NORTH_EAST)

    hits = written.ask("hybrid", "fee")

    ranks = {hit.document: (hit.vector_rank, hit.keyword_rank) for hit in hits}
    assert ranks == {"both": (1, 2), "words": (3, 1), "meaning": (2, None)}
    assert [hit.document for hit in hits] == ["both", "words", "meaning"]
    alone = hits[2]
    assert alone.keyword_score is None
    assert hits[0].score > hits[1].score > alone.score > 0


def test_the_newest_version_that_has_begun_is_visible_on_each_timeline(written: Written) -> None:
    written.put("a", 1, {"fee": 1}, at=10)
    written.put("a", 2, {"fee": 1}, at=20, valid=50)
    written.put("a", 3, None, at=60)

    def seen(at: AsOf) -> list[str]:
        return [hit.version for hit in written.ask("vector", at=at)]

    assert [seen(AsOf(at)) for at in (9, 10, 49, 50, 59, 60)] == [[], ["v1"], ["v1"], ["v2"], ["v2"], []]
    assert [seen(AsOf(at, "event")) for at in (-9, 49, 50, 60)] == [["v1"], ["v1"], ["v2"], []]
    stored = written.store.document("a", AsOf(10))
    assert stored is not None
    assert (stored.visible_from, stored.visible_to, stored.valid_to) == (10, 50, 50)


def test_a_newer_version_that_begins_earlier_hides_the_older_one_for_ever(written: Written) -> None:
    written.put("a", 1, {"fee": 1}, at=10, valid=90)
    written.put("a", 2, {"fee": 1}, at=20)

    assert [hit.version for at in (15, 20, 90, 500) for hit in written.ask("vector", at=at)] == ["v2"] * 3


def test_older_orders_and_batches_read_before_are_ignored(written: Written) -> None:
    assert written.put("a", 5, {"fee": 1})
    assert not written.put("a", 5, {"fee": 1})
    assert not written.put("a", 4, None)
    change = DocumentChange("b", "v1", "1", True, "", 1, 1)
    read = StoreBatch([Revision(change)], {"topic": (0, 3)})
    assert written.store.apply(written.epoch, StoreBatch([], {"topic": (0, 5)})).applied == 0
    assert written.store.apply(written.epoch, read).ignored == 1
    assert written.store.offset("topic") == 5


def test_counts_and_changes_leave_canaries_out(written: Written) -> None:
    written.put("a", 1, {"fee": 1})
    written.put("b", 2, {"fee": 1})
    written.put("b", 3, None)
    written.put(f"{CANARY}1", 4, {"fee": 1})

    assert written.store.counts(GENERATION.id, AsOf(9)) == Counts(1, 1, 1)
    assert written.store.changed(AsOf(0), 9) == [
        ChangedDocument("a", "v1", False, 1),
        ChangedDocument("b", "v3", True, 3),
    ]
    assert written.store.changed(AsOf(1), 2) == [ChangedDocument("b", "v2", False, 2)]
    assert [hit.document for hit in written.ask("hybrid", "fee")] == ["a"]
    assert [hit.document for hit in written.ask("hybrid", "fee", canary=True)] == [f"{CANARY}1"]


def test_purged_versions_are_gone_and_what_they_ended_stays_ended(written: Written) -> None:
    for order in (1, 2, 3):
        written.put("a", order, {"fee": 1}, at=order * 10)

    assert written.store.purge(written.epoch, 31) == 2
    assert written.store.purge(written.epoch, 31) == 0
    assert [hit.version for at in (15, 25, 30) for hit in written.ask("vector", at=at)] == ["v3"]
    assert not written.put("a", 2, {"fee": 1})


def test_a_batch_that_fails_leaves_nothing_behind(written: Written) -> None:
    with pytest.raises(InvalidDeclarationError):
        written.put("a", 1, {"fee": 1}, np.array([1, 0, 0], np.float32))
    with pytest.raises(InvalidDeclarationError):
        written.put("a", 1, {"fee": 1}, np.array([1, np.nan], np.float32))
    bare = Revision(DocumentChange("a", "v1", "1", False, "x", 1, 1), {GENERATION.id: (Chunk(0, "x"),)})
    with pytest.raises(InvalidDeclarationError, match="no vector"):
        written.store.apply(written.epoch, StoreBatch([bare], {"topic": (0, 1)}, state={"k": b"v"}))

    assert (written.store.offset("topic"), written.store.state("k"), written.ask("vector")) == (0, None, [])
    assert written.store.changed(AsOf(0), 100) == []


def test_a_generation_is_filled_and_dropped(written: Written) -> None:
    written.put("a", 1, {"fee": 1})
    written.put("b", 2, {"fee": 1})
    written.store.put_generation(written.epoch, NEXT)
    documents = written.store.not_in_generation(NEXT.id, 10)
    chunk = Chunk(0, "a 1", terms={"fee": 1})
    parts = [Backfill(documents[0].key, (chunk,)), Backfill(documents[1].key, ())]

    for _ in range(2):
        written.store.backfill(written.epoch, NEXT.id, parts, {chunk.hash: NORTH})

    assert [one.document for one in documents] == ["a", "b"]
    assert written.store.not_in_generation(NEXT.id, 10) == []
    assert written.store.counts(NEXT.id, AsOf(9)) == Counts(2, 1)
    written.store.drop_generation(written.epoch, NEXT.id)
    assert written.store.missing_vectors(NEXT.model, [chunk.hash]) == [chunk.hash]
    with pytest.raises(NotFoundError):
        written.store.counts(NEXT.id, AsOf(9))


def test_who_was_replaced_writes_no_more(written: Written) -> None:
    written.store.acquire("another")
    with pytest.raises(FencedError):
        written.put("a", 1, {"fee": 1})
