"""Filters agree with `filters.matches`, whatever is compared with whatever."""

from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.knowledge.filters import Condition, matches
from headrace.knowledge.query import AsOf
from headrace.knowledge.revision import Scalar
from headrace.knowledge.store import KnowledgeStore
from headrace.testing.knowledge_conformance.builders import GENERATION, batch, put, question, revision
from headrace.testing.knowledge_conformance.place import StorePlace, Stores
from headrace.testing.knowledge_conformance.relaxed import RELAXED

_NAMES = st.sampled_from(["a", "b", "", "a.b", "a' or 1=1 --", '"a"', "$[*]", "\x00", "ä"])
_TEXTS = st.sampled_from(
    ["", "a", "B", "ä", "ab", "1", "true", "null", "%", "a' or '1'='1", "\x00", "\x01", "\x02", "😀", "ﬀ"]
)
_NUMBERS = st.sampled_from([0, 1, -1, 2**53 + 1, 2**63, 10**23]) | st.sampled_from(
    [0.0, -0.0, 1.0, 0.1, -0.5, 1e23, 5e-324, 1.7e308, float(2**53), float("inf"), float("-inf")]
)
_VALUES: st.SearchStrategy[Scalar] = _TEXTS | _NUMBERS | st.booleans()


def _conditions() -> st.SearchStrategy[Condition]:
    compared = st.builds(Condition, _NAMES, st.sampled_from(["eq", "gt", "gte", "lt", "lte"]), st.tuples(_VALUES))
    among = st.builds(Condition, _NAMES, st.just("in"), st.lists(_VALUES, max_size=4).map(tuple))
    exists = st.builds(Condition, _NAMES, st.just("exists"), st.tuples(st.booleans()))
    return compared | among | exists


_WHERE = st.lists(_conditions(), min_size=1, max_size=3).map(tuple)
_KEPT = st.lists(st.dictionaries(_NAMES, _VALUES, max_size=4), min_size=1, max_size=12)


class FilterConformance(StorePlace):
    @given(st.data())
    @settings(RELAXED, max_examples=8)
    def test_a_filter_finds_what_matches_and_nothing_else(self, stores: Stores, data: st.DataObject) -> None:
        store, epoch = stores.only()
        kept = data.draw(_KEPT)
        store.apply(epoch, batch(*(revision(f"{n}", 1, "same words", metadata=one) for n, one in enumerate(kept))))

        for _ in range(12):
            where = data.draw(_WHERE)
            expected = [f"{n}" for n, one in enumerate(kept) if matches(where, one)]
            for mode in ("vector", "keyword", "hybrid"):
                hits = store.search(question("same words", mode=mode, where=where, limit=100))
                assert [hit.document for hit in hits] == expected, (mode, where)

    def test_every_comparison_of_every_pair_of_values_agrees(self, store: KnowledgeStore, epoch: int) -> None:
        values: list[Scalar] = [0, 1, 1.0, 0.1, -0.5, 2**53 + 1, float(2**53), 10**23, 1e23, float("inf"), True, False]
        values += ["", "a", "B", "ä", "1", "true", "\x00", "\x01", "\x02", "😀", "ﬀ"]
        kept = [{"k": value} for value in values]
        store.apply(epoch, batch(*(revision(f"{n}", 1, "text", metadata=one) for n, one in enumerate(kept))))

        for value in values:
            for operator in ("eq", "gt", "lte"):
                where = (Condition("k", operator, (value,)),)
                hits = store.search(question("text", mode="vector", where=where, limit=100))
                expected = [f"{n}" for n, one in enumerate(kept) if matches(where, one)]
                assert [hit.document for hit in hits] == expected, where

    def test_a_filter_sees_the_metadata_of_the_version_that_is_visible(self, store: KnowledgeStore, epoch: int) -> None:
        put(store, epoch, revision("a", 1, "text", metadata={"k": 1}), revision("a", 2, "text", metadata={"k": 2}))

        def versions(at: int, value: int) -> list[str]:
            where = (Condition("k", "eq", (value,)),)
            return [hit.version for hit in store.search(question("text", at=at, where=where))]

        assert [versions(at, value) for at in (1, 2) for value in (1, 2)] == [["v1"], [], [], ["v2"]]

    def test_a_filter_that_leaves_one_of_many_finds_it_without_the_word_exact(
        self, store: KnowledgeStore, epoch: int
    ) -> None:
        store.apply(epoch, batch(*(revision(f"d{n}", 1, f"text {n}", metadata={"n": n}) for n in range(300))))

        for n in (0, 150, 299):
            where = (Condition("n", "eq", (n,)),)
            hits = store.search(question("text 7", where=where, mode="vector", exact=False))
            assert [hit.document for hit in hits] == [f"d{n}"]
        assert store.counts(GENERATION.id, AsOf(1)).chunks == 300
