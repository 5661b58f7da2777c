"""How what is found is ranked, and what no text may do."""

import math

import numpy as np
import pytest

from headrace.knowledge.analysis import terms
from headrace.knowledge.query import AsOf, Hit, StoreQuery
from headrace.knowledge.ranking import K1, RANK_CONSTANT, B
from headrace.knowledge.store import KnowledgeStore
from headrace.testing.knowledge_conformance.builders import (
    GENERATION,
    LATER,
    batch,
    found,
    put,
    question,
    revision,
    unit_vector,
)
from headrace.testing.knowledge_conformance.place import StorePlace

HOSTILE = [
    "'; drop table documents; --", '" OR 1=1 --', "%s %(name)s {} $1 :a ?", "NEAR(a b) AND NOT c* ^d {x y} : -e",
    "a\x00b", "\x00", "\x01\x01\x02\x00\x01", "\\x00 \\' \\\\", "back`tick \" quote ' double '' end\\", "\ufeff\u202e\u2028",
    "😀 e\u0301 é ﬀ İ", "NULL", "{1,2,\"x\"}", "\t\r\n\\N\\.\n", "x" * 9_000, "((((((((", "*",
]  # fmt: skip


class SearchConformance(StorePlace):
    def test_vector_search_ranks_by_cosine(self, store: KnowledgeStore, epoch: int) -> None:
        texts = {f"d{n}": f"text number {n}" for n in range(30)}
        store.apply(epoch, batch(*(revision(name, n, text) for n, (name, text) in enumerate(texts.items()))))
        asked = unit_vector("what")

        hits = store.search(StoreQuery(GENERATION.id, AsOf(LATER), "vector", 7, asked, exact=True))

        scores = {name: float(unit_vector(text).astype(float) @ asked.astype(float)) for name, text in texts.items()}
        best = sorted(scores, key=lambda name: -scores[name])[:7]
        assert [hit.document for hit in hits] == best
        assert np.allclose([hit.score for hit in hits], [scores[name] for name in best], atol=1e-6)
        assert [hit.vector_rank for hit in hits] == list(range(1, 8))
        assert all(hit.vector_score == hit.score and hit.keyword_rank is None for hit in hits)

    def test_keyword_search_ranks_by_bm25_over_what_is_visible(self, store: KnowledgeStore, epoch: int) -> None:
        put(store, epoch, revision("a", 1, "fee fee card"), revision("b", 2, "fee limit of a card and of an account"))
        put(store, epoch, revision("c", 3, "address"), revision("d", 4, "fee"), revision("d", 5, None))

        hits = store.search(question("fee card fee", mode="keyword"))

        lengths = {"a": 3, "b": 9, "c": 1}
        mean = sum(lengths.values()) / 3
        weight = math.log1p((3 - 2 + 0.5) / (2 + 0.5))

        def score(name: str, fee: int, card: int) -> float:
            norm = K1 * (1 - B + B * lengths[name] / mean)
            return weight * (2 * fee * (K1 + 1) / (fee + norm) + card * (K1 + 1) / (card + norm))

        expected = {"a": score("a", 2, 1), "b": score("b", 1, 1)}
        assert [hit.document for hit in hits] == ["a", "b"]
        assert all(math.isclose(hit.score, expected[hit.document], abs_tol=1e-6) for hit in hits)
        assert [(hit.keyword_rank, hit.vector_rank) for hit in hits] == [(1, None), (2, None)]

    def test_hybrid_search_sums_reciprocal_ranks(self, store: KnowledgeStore, epoch: int) -> None:
        texts = ["red apple", "green apple", "red car", "blue sky", "grey cloud"]
        store.apply(epoch, batch(*(revision(f"d{n}", n, text) for n, text in enumerate(texts))))

        def ranks(mode: str) -> dict[str, int]:
            hits = store.search(question("red apple", mode="vector" if mode == "vector" else "keyword"))
            return {hit.document: rank for rank, hit in enumerate(hits, 1)}

        by_meaning, by_words = ranks("vector"), ranks("keyword")
        hits = store.search(question("red apple"))

        assert set(by_meaning) == {hit.document for hit in hits} == {f"d{n}" for n in range(5)}
        assert set(by_words) == {"d0", "d1", "d2"}
        assert hits[0].document == "d0"
        for hit in hits:
            assert (hit.vector_rank, hit.keyword_rank) == (by_meaning[hit.document], by_words.get(hit.document))
            parts = [rank for rank in (hit.vector_rank, hit.keyword_rank) if rank is not None]
            assert math.isclose(hit.score, sum(1 / (RANK_CONSTANT + rank) for rank in parts), abs_tol=1e-6)
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)

    @pytest.mark.parametrize("mode", ["vector", "keyword"])
    def test_equal_scores_go_by_the_order_in_which_the_chunks_came_in(
        self, store: KnowledgeStore, epoch: int, mode: str
    ) -> None:
        names = [f"d{(n * 7) % 40:02d}" for n in range(40)]
        store.apply(epoch, batch(*(revision(name, 1, "same words\n\nsame words") for name in names)))

        hits = store.search(question("same words", mode="vector" if mode == "vector" else "keyword", limit=13))

        assert found(hits) == [(name, "v1", index) for name in names for index in (0, 1)][:13]

    def test_a_hit_says_what_was_found_and_where(self, store: KnowledgeStore, epoch: int) -> None:
        metadata = {"product": "cards", "fee": 2, "rate": 2.0, "open": False, "": "no name"}
        put(store, epoch, revision("doc", 7, "first\n\nsecond part", at=70, title="Title", metadata=metadata))

        (hit,) = store.search(question("second part", limit=1))

        assert (hit.document, hit.version, hit.chunk, hit.text) == ("doc", "v7", 1, "second part")
        assert (hit.headings, hit.title, hit.seen_ms) == (("Title",), "Title", 70)
        assert dict(hit.metadata) == metadata
        assert [type(value) for value in hit.metadata.values()] == [str, int, float, bool, str]

    def test_nothing_is_found_where_there_is_nothing(self, store: KnowledgeStore, epoch: int) -> None:
        assert store.search(question("anything")) == []
        put(store, epoch, revision("a", 1, "text"))
        assert store.search(question("absent words", mode="keyword")) == []
        assert store.search(question("", mode="keyword")) == []
        assert store.search(question("text", at=0)) == []

    def test_later_documents_change_neither_what_was_found_before_nor_its_scores(
        self, store: KnowledgeStore, epoch: int
    ) -> None:
        put(store, epoch, *(revision(f"d{n}", n, f"fee number {n} of the card") for n in range(1, 9)))

        def seen() -> list[list[Hit]]:
            modes = ("vector", "keyword", "hybrid")
            return [store.search(question("fee of card 3", at=8, mode=mode)) for mode in modes]

        before = seen()
        put(store, epoch, *(revision(f"later{n}", 100 + n, "fee fee card\n\nfee card address") for n in range(20)))
        put(store, epoch, *(revision(f"d{n}", 200 + n, None if n % 2 else "fee of 3") for n in range(1, 9)))

        assert seen() == before

    def test_whatever_a_document_holds_comes_back_as_it_was(self, store: KnowledgeStore, epoch: int) -> None:
        store.apply(
            epoch,
            batch(
                *(
                    revision(f"{n}:{text}", f"{n:03d}{text}", text, at=n, title=text, metadata={text: text})
                    for n, text in enumerate(HOSTILE)
                )
            ),
        )

        hits = {hit.document: hit for hit in store.search(question("anything", mode="vector", limit=1_000))}
        for n, text in enumerate(HOSTILE):
            name, parts = f"{n}:{text}", text.split("\n\n")
            hit, document = hits[name], store.document(name, AsOf(LATER))
            assert (hit.text, hit.title, hit.headings, dict(hit.metadata)) == (parts[0], text, (text,), {text: text})
            assert hit.version == f"v{n:03d}{text}"
            assert document is not None
            assert (document.document, document.text, dict(document.metadata)) == (name, text, {text: text})

    @pytest.mark.parametrize("text", HOSTILE)
    def test_whatever_is_asked_is_only_words(self, store: KnowledgeStore, epoch: int, text: str) -> None:
        put(store, epoch, revision("a", 1, "plain"), revision("b", 2, text))

        hits = store.search(question(text, mode="keyword"))

        assert [hit.document for hit in hits] == (["b"] if terms(text) else [])
        raw = StoreQuery(GENERATION.id, AsOf(LATER), "keyword", terms=(text, "plain"))
        assert store.search(raw)[0].document in {"a", "b"}
        assert len(store.search(question("plain", mode="vector"))) == 2
