"""Random histories: as of every moment, on both timelines, the store answers what the plain definition answers."""

import math
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.knowledge.filters import Condition
from headrace.knowledge.query import AsOf, Hit, StoreQuery
from headrace.knowledge.revision import CANARY, Revision
from headrace.knowledge.store import KnowledgeStore, StoreBatch
from headrace.testing.knowledge_conformance.builders import GENERATION, LATER, batch, question, revision
from headrace.testing.knowledge_conformance.place import StorePlace, Stores
from headrace.testing.knowledge_conformance.relaxed import RELAXED
from headrace.testing.knowledge_oracle import OracleStore

_WORDS = ("fee", "card", "limit", "address", "routing", "of", "the")
_TEXTS = st.lists(st.sampled_from(_WORDS), min_size=1, max_size=6).map(" ".join)


@st.composite
def histories(draw: st.DrawFn) -> list[StoreBatch]:
    """Batches over few documents, late versions, deletions, replays and overlaps included."""
    changes: list[Revision] = []
    seen = 0
    for _ in range(draw(st.integers(1, 14))):
        seen += draw(st.integers(0, 9))
        paragraphs = draw(st.none() | st.lists(_TEXTS, min_size=1, max_size=3).map("\n\n".join))
        changes.append(
            revision(
                draw(st.sampled_from(["a", "b", "c", "d", f"{CANARY}1"])), draw(st.integers(0, 20)), paragraphs,
                at=seen, valid=draw(st.none() | st.integers(-5, 100)),
                metadata=draw(st.fixed_dictionaries({}, optional={"k": st.integers(0, 2)})),
            )
        )  # fmt: skip
    batches: list[StoreBatch] = []
    consumed = 0
    while consumed < len(changes):
        first = max(0, consumed - draw(st.integers(0, 3)))
        after = min(len(changes), consumed + draw(st.integers(1, 5)))
        batches.append(batch(*changes[first:after], offsets=(first, after)))
        consumed = after
    return batches


def moments(batches: Sequence[StoreBatch]) -> list[int]:
    """At, before and after whatever begins or ends."""
    edges = {LATER}
    for one in batches:
        for item in one.revisions:
            edges.update((item.change.seen_ms, item.change.valid_from_ms or 0))
    return sorted({edge + by for edge in edges for by in (-1, 0)})


class HistoryConformance(StorePlace):
    @given(histories(), st.data())
    @settings(RELAXED, max_examples=20)
    def test_as_of_any_moment_it_answers_what_the_definition_answers(
        self, stores: Stores, batches: list[StoreBatch], data: st.DataObject
    ) -> None:
        store, epoch = stores.only()
        oracle, its_epoch = _oracle()
        for one in batches:
            assert store.apply(epoch, one) == oracle.apply(its_epoch, one)

        for at in data.draw(st.lists(st.sampled_from(moments(batches)), min_size=2, max_size=4, unique=True)):
            _same_answers(store, oracle, at, data.draw(_TEXTS), data.draw(st.sampled_from([1, 3, 10])))

    @given(histories(), st.integers(0, 100))
    @settings(RELAXED, max_examples=10)
    def test_purging_changes_no_answer_about_what_was_not_purged(
        self, stores: Stores, batches: list[StoreBatch], before: int
    ) -> None:
        store, epoch = stores.only()
        oracle, its_epoch = _oracle()
        for one in batches:
            store.apply(epoch, one)
            oracle.apply(its_epoch, one)

        assert store.purge(epoch, before) == oracle.purge(its_epoch, before)
        for at in (before, LATER):
            _same_answers(store, oracle, at, "fee of the card", 10)
        for one in batches:
            assert store.apply(epoch, one).applied == 0


def _oracle() -> tuple[KnowledgeStore, int]:
    oracle = OracleStore()
    epoch = oracle.acquire("writer")
    oracle.put_generation(epoch, GENERATION)
    return oracle, epoch


def _same_answers(store: KnowledgeStore, oracle: KnowledgeStore, at: int, text: str, limit: int) -> None:
    for timeline in ("arrival", "event"):
        as_of = AsOf(at, timeline)
        assert store.counts(GENERATION.id, as_of) == oracle.counts(GENERATION.id, as_of)
        for name in "abcd":
            one, expected = store.document(name, as_of), oracle.document(name, as_of)
            assert (one and replace(one, key=0)) == (expected and replace(expected, key=0))
        for since in (-10, at // 2 if abs(at) < LATER - 1 else 10):
            assert store.changed(AsOf(since, timeline), at) == oracle.changed(AsOf(since, timeline), at)
        for mode in ("vector", "keyword", "hybrid"):
            for where in ((), (Condition("k", "gte", (1,)),)):
                _same_hits(store, oracle, question(text, at=as_of, mode=mode, limit=limit, where=where))
            _same_hits(store, oracle, question(text, at=as_of, mode=mode, limit=limit, canary=True))


def _same_hits(store: KnowledgeStore, oracle: KnowledgeStore, asked: StoreQuery) -> None:
    hits, expected = store.search(asked), oracle.search(asked)
    assert [_without_scores(hit) for hit in hits] == [_without_scores(hit) for hit in expected], asked
    for hit, other in zip(hits, expected, strict=True):
        for a, b in (
            (hit.score, other.score),
            (hit.vector_score, other.vector_score),
            (hit.keyword_score, other.keyword_score),
        ):
            assert (a is None) == (b is None)
            assert a is None or b is None or math.isclose(a, b, abs_tol=1e-6)


def _without_scores(hit: Hit) -> Hit:
    return replace(hit, score=0.0, vector_score=None, keyword_score=None)
