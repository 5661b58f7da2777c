"""Which version is visible when, on both timelines."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.knowledge.query import AsOf, ChangedDocument, Counts
from headrace.knowledge.revision import CANARY, FOREVER, SINCE_EVER, Revision, interval_ends
from headrace.knowledge.store import KnowledgeStore
from headrace.testing.knowledge_conformance.builders import GENERATION, LATER, all_documents, put, question, revision
from headrace.testing.knowledge_conformance.place import StorePlace, Stores
from headrace.testing.knowledge_conformance.relaxed import RELAXED

_STARTS = st.none() | st.integers(-50, 200)


class VisibilityConformance(StorePlace):
    def test_a_version_that_starts_later_appears_when_its_time_comes(self, store: KnowledgeStore, epoch: int) -> None:
        put(store, epoch, revision("a", 10, "old"), revision("a", 20, "new", valid=50))

        for at, version in [(9, None), (10, "v10"), (49, "v10"), (50, "v20"), (LATER, "v20")]:
            assert all_documents(store, at).get("a") == version
            document = store.document("a", AsOf(at))
            assert (document.version if document else None) == version

    def test_a_correction_ends_a_version_that_has_not_begun(self, store: KnowledgeStore, epoch: int) -> None:
        put(store, epoch, revision("a", 10, "old"), revision("a", 20, "future", valid=90), revision("a", 30, "now"))

        assert [all_documents(store, at).get("a") for at in (29, 30, 90, 95)] == ["v10", "v30", "v30", "v30"]

    def test_a_deletion_hides_from_its_own_moment(self, store: KnowledgeStore, epoch: int) -> None:
        put(store, epoch, revision("a", 10, "old"), revision("a", 20, None))

        assert [all_documents(store, at) for at in (19, 20)] == [{"a": "v10"}, {}]
        deleted = store.document("a", AsOf(20))
        assert deleted is None or deleted.deleted

    def test_on_the_event_timeline_documents_are_valid_since_ever_or_since_they_say(
        self, store: KnowledgeStore, epoch: int
    ) -> None:
        put(store, epoch, revision("plain", 10, "first"), revision("plain", 20, "edit"))
        put(store, epoch, revision("dated", 30, "first", valid=5), revision("dated", 40, "edit", valid=8))

        def at(moment: int) -> dict[str, str]:
            return all_documents(store, AsOf(moment, "event"))

        assert at(4) == {"plain": "v10"}
        assert at(5) == {"plain": "v10", "dated": "v30"}
        assert at(8) == {"plain": "v10", "dated": "v40"}
        assert at(20) == {"plain": "v20", "dated": "v40"}

    def test_a_stored_document_says_all_that_it_takes_to_cut_it_anew(self, store: KnowledgeStore, epoch: int) -> None:
        metadata = {"team": "cards", "fee": 1.5, "count": 3, "open": True}
        put(store, epoch, revision("a", 10, "text\n\nmore", valid=7, title="Title", metadata=metadata))
        put(store, epoch, revision("a", 20, "next"))

        document = store.document("a", AsOf(10))

        assert document is not None
        assert (document.document, document.version, document.title) == ("a", "v10", "Title")
        assert (document.text, document.media, dict(document.metadata)) == ("text\n\nmore", "markdown", metadata)
        assert [type(value) for value in document.metadata.values()] == [str, float, int, bool]
        assert (document.visible_from, document.visible_to) == (10, 20)
        assert (document.valid_from, document.valid_to) == (7, 20)
        assert not document.deleted

    def test_changed_names_the_last_change_of_each_document_by_time(self, store: KnowledgeStore, epoch: int) -> None:
        put(
            store, epoch,
            revision("a", 10, "one"), revision("b", 20, "one"), revision("a", 30, "two"), revision("b", 40, None),
            revision("c", 50, "one", valid=70), revision(f"{CANARY}", 60, "one"),
        )  # fmt: skip

        def changed(after: int, upto: int) -> list[ChangedDocument]:
            return store.changed(AsOf(after), upto)

        assert changed(9, 10) == [ChangedDocument("a", "v10", False, 10)]
        assert changed(10, 35) == [ChangedDocument("b", "v20", False, 20), ChangedDocument("a", "v30", False, 30)]
        assert changed(0, 60) == [ChangedDocument("a", "v30", False, 30), ChangedDocument("b", "v40", True, 40)]
        assert changed(60, 70) == [ChangedDocument("c", "v50", False, 70)]
        assert changed(70, LATER) == []

    def test_canaries_are_found_by_who_asks_for_them_and_nobody_else(self, store: KnowledgeStore, epoch: int) -> None:
        put(store, epoch, revision("a", 1, "one word"))
        before = store.search(question("one word"))
        put(store, epoch, revision(f"{CANARY}:1", 2, "one word"), revision(f"{CANARY}:2", 3, "word word word"))

        assert store.search(question("one word")) == before
        assert set(all_documents(store)) == {"a"}
        assert set(all_documents(store, canary=True)) == {f"{CANARY}:1", f"{CANARY}:2"}
        assert store.counts(GENERATION.id, AsOf(LATER)) == Counts(1, 1, 0)
        put(store, epoch, revision(f"{CANARY}:1", 4, None))
        assert set(all_documents(store, canary=True)) == {f"{CANARY}:2"}
        assert store.counts(GENERATION.id, AsOf(LATER)).tombstones == 0

    @given(st.lists(st.tuples(st.integers(0, 150), _STARTS, st.booleans()), min_size=1, max_size=6))
    @settings(RELAXED, max_examples=12)
    def test_intervals_are_those_of_the_definition(
        self, stores: Stores, drawn: list[tuple[int, int | None, bool]]
    ) -> None:
        store, epoch = stores.only()
        versions = [
            revision("d", n, None if gone else f"text {n}", at=seen, valid=valid)
            for n, (seen, valid, gone) in enumerate(drawn)
        ]
        put(store, epoch, *versions)

        for timeline in ("arrival", "event"):
            starts = _starts(versions, timeline)
            intervals = list(zip(starts, interval_ends(starts), versions, strict=True))
            for at in {-1, *(start + by for start in starts for by in (-1, 0, 1) if abs(start) < LATER), LATER}:
                visible = [one.change for start, end, one in intervals if start <= at < end]
                expected = {one.document: one.version for one in visible if not one.deleted}
                assert all_documents(store, AsOf(at, timeline)) == expected

    def test_intervals_reach_from_since_ever_to_for_ever(self, store: KnowledgeStore, epoch: int) -> None:
        put(store, epoch, revision("a", 1, "text"))
        document = store.document("a", AsOf(-(1 << 60), "event"))

        assert document is not None
        assert (document.valid_from, document.valid_to, document.visible_to) == (SINCE_EVER, FOREVER, FOREVER)

    @pytest.mark.parametrize("at", [SINCE_EVER, FOREVER - 1])
    def test_moments_at_the_ends_of_time_may_be_asked_for(self, store: KnowledgeStore, epoch: int, at: int) -> None:
        put(store, epoch, revision("a", 1, "text"))

        assert store.counts(GENERATION.id, AsOf(at, "event")) == Counts(1, 1, 0)


def _starts(versions: list[Revision], timeline: str) -> list[int]:
    if timeline == "arrival":
        return [one.change.visible_from for one in versions]
    return [
        one.change.valid_from_ms if one.change.valid_from_ms is not None else one.change.stream_ms if n else SINCE_EVER
        for n, one in enumerate(versions)
    ]
