"""The approximate index: derived, kept current, saved, and never trusted where it is torn."""

from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import pytest

from headrace.foundation import failpoints
from headrace.knowledge.query import AsOf, StoreQuery
from headrace.knowledge.sqlite import open_store
from headrace.knowledge.sqlite.store import SqliteKnowledgeStore
from headrace.knowledge.store import StoreOptions
from headrace.testing.knowledge_conformance.builders import GENERATION, LATER, batch, put, revision, unit_vector
from headrace.testing.resource_ids import knowledge_base_id

DOCUMENTS = 400


@pytest.fixture
def options(tmp_path: Path) -> StoreOptions:
    return StoreOptions(knowledge_base_id("kb", "ns"), tmp_path, exact_up_to=50)


@pytest.fixture
def store(options: StoreOptions) -> Generator[SqliteKnowledgeStore]:
    with closing(open_store(options)) as store:
        yield store


@pytest.fixture
def epoch(store: SqliteKnowledgeStore) -> int:
    epoch = store.acquire("writer")
    store.put_generation(epoch, GENERATION)
    store.apply(epoch, batch(*(revision(f"d{n}", 1, f"text {n}") for n in range(DOCUMENTS))))
    return epoch


def nearest(
    store: SqliteKnowledgeStore, text: str, *, exact: bool = False, limit: int = 10, at: int = LATER
) -> list[str]:
    asked = StoreQuery(GENERATION.id, AsOf(at), "vector", limit, unit_vector(text), exact=exact)
    return [hit.document for hit in store.search(asked)]


def built(store: SqliteKnowledgeStore) -> SqliteKnowledgeStore:
    """The store, once its approximate index is there and in use."""
    nearest(store, "anything")
    store.settle()
    nearest(store, "anything")
    (index,) = store._indexes.values()
    assert index.neighbours is not None
    assert index.neighbours._built is not None
    return store


def recall(store: SqliteKnowledgeStore) -> float:
    pairs = [(nearest(store, f"q{n}"), nearest(store, f"q{n}", exact=True)) for n in range(40)]
    return sum(len({*rough} & {*exact}) for rough, exact in pairs) / 400


def saved(options: StoreOptions) -> Path:
    (path,) = (options.state / "knowledge").glob("*.usearch")
    return path


def test_it_finds_what_an_exact_search_finds(store: SqliteKnowledgeStore, epoch: int) -> None:
    assert recall(built(store)) >= 0.98


def test_answers_are_exact_while_it_is_being_built(store: SqliteKnowledgeStore, epoch: int) -> None:
    assert nearest(store, "text 7")[0] == "d7"
    assert nearest(store, "text 7") == nearest(store, "text 7", exact=True)


def test_it_follows_what_comes_and_goes(store: SqliteKnowledgeStore, epoch: int) -> None:
    built(store)
    put(store, epoch, revision("new", 2, "something else"))
    assert nearest(store, "something else")[0] == "new"
    put(store, epoch, revision("new", 3, None), revision("d7", 4, "another text"))
    assert "new" not in nearest(store, "something else", limit=40)
    assert nearest(store, "text 7")[0] != "d7"
    assert nearest(store, "another text")[0] == "d7"


def test_what_is_not_taken_in_yet_is_found_all_the_same(store: SqliteKnowledgeStore, epoch: int) -> None:
    built(store)
    store.apply(epoch, batch(*(revision(f"new{n}", 2, f"new text {n}") for n in range(60))))
    for n in range(60):
        assert nearest(store, f"new text {n}")[0] == f"new{n}"
    assert recall(store) >= 0.98


def test_versions_come_and_go_with_time_alone(store: SqliteKnowledgeStore, epoch: int) -> None:
    put(store, epoch, revision("d3", 10, "later words", valid=1_000), revision("d3", 11, None, valid=2_000))
    built(store)
    for at, first in [(500, False), (1_500, True), (2_500, False), (1_500, True)]:
        assert (nearest(store, "later words", at=at)[0] == "d3") is first
        assert ("d3" in nearest(store, "text 3", at=at, limit=1)) is (at == 500)


def test_it_is_rebuilt_when_a_fifth_has_changed(
    store: SqliteKnowledgeStore, epoch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headrace.knowledge.sqlite.neighbours._LEAST_PENDING", 20)
    built(store)
    (index,) = store._indexes.values()
    assert index.neighbours is not None
    before = index.neighbours._built
    store.apply(epoch, batch(*(revision(f"d{n}", 2, f"changed {n}") for n in range(DOCUMENTS // 4))))

    built(store)

    assert index.neighbours._built is not before
    assert recall(store) >= 0.98
    assert nearest(store, "changed 3")[0] == "d3"


def test_a_saved_one_is_used_again_and_brought_up_to_date(
    store: SqliteKnowledgeStore, epoch: int, options: StoreOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    built(store)
    assert saved(options).stat().st_mode & 0o077 == 0
    put(store, epoch, revision("d1", 2, None), revision("new", 3, "new text"))
    added: list[int] = []
    plain = SqliteKnowledgeStore._vectors_of

    def counted(self: SqliteKnowledgeStore, index: object, keys: list[int]) -> object:
        added.append(len(keys))
        return plain(self, index, keys)  # type: ignore[arg-type]

    monkeypatch.setattr(SqliteKnowledgeStore, "_vectors_of", counted)
    with closing(open_store(options)) as again:
        assert nearest(built(again), "new text")[0] == "new"
        assert "d1" not in nearest(again, "text 1", limit=40)
    assert sum(added) == 1


@pytest.mark.parametrize("damage", ["cut", "flipped", "note", "gone"])
def test_a_torn_or_missing_file_is_built_anew(
    store: SqliteKnowledgeStore, epoch: int, options: StoreOptions, damage: str
) -> None:
    built(store)
    path = saved(options)
    whole = path.read_bytes()
    if damage == "cut":
        path.write_bytes(whole[: len(whole) // 2])
    elif damage == "flipped":
        path.write_bytes(bytes([*whole[:500], whole[500] ^ 255, *whole[501:]]))
    elif damage == "note":
        path.with_name(path.name + ".json").write_text("{")
    else:
        path.unlink()

    with closing(open_store(options)) as again:
        assert recall(built(again)) >= 0.98
    assert path.stat().st_size == len(whole)


def test_a_kill_during_the_save_leaves_the_old_file(
    store: SqliteKnowledgeStore, epoch: int, options: StoreOptions, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise OSError("the end")

    with failpoints.armed("knowledge.neighbours.saved", fail):
        assert recall(built(store)) >= 0.98
    assert "could not save" in caplog.text
    assert list((options.state / "knowledge").glob("*.usearch")) == []
    with closing(open_store(options)) as again:
        assert recall(built(again)) >= 0.98
    assert saved(options).exists()


def test_a_file_of_another_store_is_not_taken_for_its_own(
    store: SqliteKnowledgeStore, epoch: int, options: StoreOptions
) -> None:
    built(store)
    store.close()
    for file in (options.state / "knowledge").glob("*.sqlite*"):
        file.unlink()

    with closing(open_store(options)) as other:
        newer = other.acquire("writer")
        other.put_generation(newer, GENERATION)
        other.apply(newer, batch(*(revision(f"other{n}", 1, f"other {n}") for n in range(DOCUMENTS))))
        assert nearest(built(other), "other 5")[0] == "other5"


def test_a_dropped_generation_takes_its_file_along(
    store: SqliteKnowledgeStore, epoch: int, options: StoreOptions
) -> None:
    built(store)
    assert saved(options).exists()
    store.drop_generation(epoch, GENERATION.id)
    assert [file.suffix for file in (options.state / "knowledge").iterdir() if ".usearch" in file.name] == []
