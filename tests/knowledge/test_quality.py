"""Measures of retrieval agree with cases worked out by hand, and stay within their bounds."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.knowledge.analysis import terms
from headrace.knowledge.generation import Generation
from headrace.knowledge.quality import GoldenQuery, Quality, agreement, judge, ndcg, recall
from headrace.knowledge.query import Hit
from headrace.knowledge.retriever import Retriever
from headrace.knowledge.revision import Chunk, DocumentChange, Revision
from headrace.knowledge.store import StoreBatch
from headrace.testing.clock import VirtualClock
from headrace.testing.knowledge_oracle import OracleStore
from headrace.testing.word_embedder import WordEmbedder

_DOCUMENTS = st.lists(st.sampled_from("abcdefgh"), max_size=12)
_RELEVANT = st.dictionaries(st.sampled_from("abcdefgh"), st.floats(0, 8), max_size=6)


def hits(documents: Sequence[str]) -> list[Hit]:
    return [Hit(document, "v1", index, "text", 1.0) for index, document in enumerate(documents)]


def test_ndcg_divides_what_was_gained_by_what_the_best_order_gains() -> None:
    relevant = {"a": 3.0, "b": 2.0, "c": 1.0}
    best = 3 + 2 / math.log2(3) + 1 / 2

    assert ndcg(["a", "b", "c"], relevant) == 1.0
    assert ndcg(["x", "a", "y", "c"], relevant) == pytest.approx((3 / math.log2(3) + 1 / math.log2(5)) / best)
    assert ndcg(["x", "a"], relevant, k=1) == 0.0


def test_a_document_that_is_found_twice_is_worth_no_more() -> None:
    assert ndcg(["a", "a", "b"], {"a": 1.0, "b": 1.0}) == 1.0
    assert recall(["a", "a", "b"], {"a": 1.0, "b": 1.0}, k=2) == 1.0


def test_recall_is_the_share_of_the_relevant_ones() -> None:
    assert recall(["x", "a", "b"], {"a": 1.0, "b": 1.0, "c": 1.0, "no": 0.0}, k=2) == pytest.approx(1 / 3)
    assert (recall(["a"], {}), ndcg(["a"], {})) == (0.0, 0.0)


@given(_DOCUMENTS, _RELEVANT, st.integers(1, 10))
def test_measures_lie_between_nothing_and_one(ranked: list[str], relevant: dict[str, float], k: int) -> None:
    assert 0.0 <= ndcg(ranked, relevant, k) <= 1.0 + 1e-9
    assert 0.0 <= recall(ranked, relevant, k) <= 1.0


@given(_RELEVANT.filter(lambda relevant: any(gain > 1e-6 for gain in relevant.values())), st.integers(1, 10))
def test_the_best_order_is_worth_one(relevant: dict[str, float], k: int) -> None:
    assert ndcg(sorted(relevant, key=lambda name: -relevant[name]), relevant, k) == pytest.approx(1.0)


def test_agreement_is_the_overlap_of_documents() -> None:
    assert agreement(hits("aab"), hits("ba")) == 1.0
    assert agreement(hits("abcd"), hits("ab")) == 0.5
    assert agreement(hits("ab"), hits("cd")) == 0.0
    assert agreement([], []) == 1.0
    assert agreement([], hits("a")) == 0.0
    assert agreement(hits("abc"), hits("acb"), k=1) == 1.0


@given(_DOCUMENTS, _DOCUMENTS, st.integers(1, 10))
def test_agreement_is_the_same_from_both_sides(old: list[str], new: list[str], k: int) -> None:
    share = agreement(hits(old), hits(new), k)
    assert share == agreement(hits(new), hits(old), k)
    assert 0.0 <= share <= 1.0


def test_a_judge_asks_every_question_that_has_an_answer() -> None:
    texts = {"fees": "fees of a card", "limits": "limits of an account", "places": "addresses of branches"}
    store, embedder = OracleStore(), WordEmbedder()
    generation = Generation(embedder.fingerprint, embedder.dimension, "{}", state="active")
    epoch = store.acquire("writer")
    store.put_generation(epoch, generation)
    for name, text in texts.items():
        chunk = Chunk(0, text, terms=dict.fromkeys(terms(text), 1))
        change = DocumentChange(name, "v1", "1", False, text, 1, 1)
        vectors = {embedder.fingerprint: {chunk.hash: embedder.embed([text])[0]}}
        store.apply(epoch, StoreBatch([Revision(change, {generation.id: (chunk,)})], vectors=vectors))
    golden = [
        GoldenQuery("card fees", {"fees": 2.0}),
        GoldenQuery("account limits", {"limits": 1.0}),
        GoldenQuery("nobody knows", {}),
    ]

    quality = judge(Retriever(store, lambda _: embedder, clock=VirtualClock()), golden)

    assert quality == Quality(1.0, 1.0, 2, (1.0, 1.0))
    assert judge(Retriever(store, lambda _: embedder), []) == Quality(0.0, 0.0, 0)
