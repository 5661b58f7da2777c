"""Retrieval: one generation with its own model, at one moment, whatever is asked."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.foundation.errors import NotFoundError, UnavailableError
from headrace.knowledge.analysis import term_counts
from headrace.knowledge.filters import parse_filter
from headrace.knowledge.generation import Generation
from headrace.knowledge.query import AsOf
from headrace.knowledge.retriever import MAX_QUESTION, Retriever
from headrace.knowledge.revision import CANARY, Chunk, DocumentChange, Revision
from headrace.knowledge.store import StoreBatch
from headrace.models.embedder import Embedder
from headrace.testing.clock import VirtualClock
from headrace.testing.knowledge_oracle import OracleStore
from headrace.testing.word_embedder import WordEmbedder


class Base:
    """A store with two generations of two models, and who asks it."""

    def __init__(self) -> None:
        self.clock = VirtualClock(1_000)
        self.embedders = {one.fingerprint: one for one in (WordEmbedder(32), WordEmbedder(16, name="other"))}
        self.store = OracleStore()
        self.epoch = self.store.acquire("writer")
        self.old, self.new = (
            Generation(one.fingerprint, one.dimension, "{}", created_ms=place)
            for place, one in enumerate(self.embedders.values())
        )

    def embedder_of(self, fingerprint: str) -> Embedder:
        if fingerprint not in self.embedders:
            raise NotFoundError(f"no embedder {fingerprint}")
        return self.embedders[fingerprint]

    def retriever(self, limit: int = 5) -> Retriever:
        return Retriever(self.store, self.embedder_of, limit=limit, clock=self.clock)

    def activate(self, generation: Generation) -> None:
        self.store.put_generation(
            self.epoch, Generation(generation.model, generation.dimension, "{}", "active", generation.created_ms)
        )

    def put(self, document: str, text: str | None, *, at: int = 1, version: int = 1, product: str = "cards") -> None:
        change = DocumentChange(
            document, f"v{version}", f"{version:03d}", text is None, text or "", at, at, metadata={"product": product}
        )
        chunks = (Chunk(0, text, terms=term_counts(text)),) if text is not None else ()
        generations = self.store.generations()
        vectors = {
            one.model: {chunk.hash: self.embedders[one.model].embed([chunk.embedded])[0] for chunk in chunks}
            for one in generations
        }
        revision = Revision(change, {one.id: chunks for one in generations} if chunks else {})
        self.store.apply(self.epoch, StoreBatch([revision], vectors=vectors))


@pytest.fixture
def base() -> Base:
    """Two documents, the first generation active."""
    base = Base()
    base.activate(base.old)
    base.store.put_generation(base.epoch, base.new)
    base.put("fees", "the fee of a card")
    base.put("limits", "the limit of an account", product="accounts")
    return base


@pytest.mark.parametrize("mode", ["vector", "keyword", "hybrid"])
def test_the_passage_that_shares_the_words_comes_first(base: Base, mode: str) -> None:
    found = base.retriever().search("what is the card's fee?", mode=mode)  # pyright: ignore[reportArgumentType]

    assert found.hits[0].document == "fees"
    assert (found.generation, found.as_of, found.degraded) == (base.old.id, AsOf(1_000), "")


def test_a_question_is_embedded_by_the_model_of_its_generation(base: Base) -> None:
    first, second = base.embedders.values()
    first.embedded.clear()
    second.embedded.clear()

    found = base.retriever().search("fee", generation=base.new.id)
    assert (found.generation, first.embedded, second.embedded) == (base.new.id, [], ["fee"])

    base.activate(base.new)
    assert base.retriever().search("limit").generation == base.new.id
    assert (first.embedded, second.embedded) == ([], ["fee", "limit"])


def test_a_question_by_keywords_is_not_embedded(base: Base) -> None:
    for embedder in base.embedders.values():
        embedder.embedded.clear()
        embedder.away = True
    assert base.retriever().search("fee", mode="keyword").hits
    assert all(not embedder.embedded for embedder in base.embedders.values())


def test_many_questions_are_embedded_in_one_batch_and_answered_in_order(base: Base) -> None:
    embedder = next(iter(base.embedders.values()))
    embedder.embedded.clear()
    questions = ["fee of a card", "limit of an account", "fee"]

    found = base.retriever(1).search_many(questions)

    assert [one.hits[0].document for one in found] == ["fees", "limits", "fees"]
    assert embedder.embedded == questions
    assert [one.hits for one in found] == [base.retriever(1).search(question).hits for question in questions]
    assert base.retriever().search_many([]) == []


def test_each_of_many_questions_may_have_its_own_moment(base: Base) -> None:
    base.put("fees", "a fee that has changed", at=500, version=2)

    found = base.retriever(1).search_many(["fee", "fee", "fee"], as_of=[AsOf(0), AsOf(499), AsOf(500)])

    assert [[hit.version for hit in one.hits] for one in found] == [[], ["v1"], ["v2"]]
    assert [one.as_of.at_ms for one in found] == [0, 499, 500]


def test_left_out_the_moment_is_now(base: Base) -> None:
    base.put("fees", None, at=2_000, version=2)
    retriever = base.retriever()

    assert {hit.document for hit in retriever.search("fee").hits} == {"fees", "limits"}
    base.clock.advance(1)
    assert {hit.document for hit in retriever.search("fee").hits} == {"limits"}


def test_filters_limits_and_canaries_reach_the_store(base: Base) -> None:
    base.put(f"{CANARY}1", "the fee of a card")
    retriever = base.retriever()

    where = parse_filter({"product": "accounts"})
    assert [hit.document for hit in retriever.search("fee of a card", where=where).hits] == ["limits"]
    assert len(retriever.search("fee", limit=1).hits) == 1
    assert [hit.document for hit in retriever.search("fee", canary=True).hits] == [f"{CANARY}1"]


def test_without_an_active_generation_it_says_what_to_do() -> None:
    base = Base()
    with pytest.raises(UnavailableError, match="headrace up"):
        base.retriever().search("fee")
    base.store.put_generation(base.epoch, base.old)
    with pytest.raises(UnavailableError, match="nothing is indexed yet"):
        base.retriever().search("fee")
    with pytest.raises(NotFoundError, match=base.old.id):
        base.retriever().search("fee", generation="gnowhere")


def test_an_embedder_that_is_away_is_an_error_or_leaves_the_keywords(base: Base) -> None:
    next(iter(base.embedders.values())).away = True

    with pytest.raises(UnavailableError, match="no embedding model answers"):
        base.retriever().search("fee")
    found = base.retriever().search("fee", degrade=True)

    assert [hit.document for hit in found.hits] == ["fees"]
    assert "no embedding model answers" in found.degraded
    assert found.hits[0].vector_rank is None


def test_a_model_that_nobody_has_is_an_error_or_leaves_the_keywords(base: Base) -> None:
    base.embedders.pop(base.old.model)

    with pytest.raises(NotFoundError):
        base.retriever().search("fee")
    assert "no embedder" in base.retriever().search("fee", degrade=True).degraded


@pytest.mark.parametrize(
    "question",
    ["", " \n\t", "?!… -- ''", '"fee" AND (card OR', "fee:* ^2 ~", "'; drop table chunks; --", "\x00", "\ud800", "fee " * 300_000],
)  # fmt: skip
def test_whatever_is_asked_is_only_words(base: Base, question: str) -> None:
    for mode in ("vector", "keyword", "hybrid"):
        assert len(base.retriever().search(question, mode=mode).hits) <= 2
    assert bool(base.retriever().search(question, mode="keyword").hits) is ("fee" in question)


def test_halves_of_letters_do_not_reach_the_embedder(base: Base) -> None:
    embedder = next(iter(base.embedders.values()))
    embedder.embedded.clear()
    base.retriever().search("fee \ud800 of")
    assert embedder.embedded == ["fee ? of"]


def test_of_a_very_long_question_its_beginning_is_looked_at(base: Base) -> None:
    embedder = next(iter(base.embedders.values()))
    embedder.embedded.clear()
    base.retriever().search("x" * 1_000_000)
    assert [len(text) for text in embedder.embedded] == [MAX_QUESTION]


@given(st.text(max_size=200))
@settings(max_examples=60)
def test_no_question_is_an_error(question: str) -> None:
    base = Base()
    base.activate(base.old)
    base.put("fees", "the fee of a card")
    assert len(base.retriever().search(question).hits) == 1
