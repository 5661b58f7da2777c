"""Immutable directories: whole or not at all."""

import errno
import os
from pathlib import Path

import pytest

from headrace.foundation.errors import CorruptDataError, DiskFullError, NotFoundError
from headrace.foundation.failpoints import armed
from headrace.models.directory_store import DirectoryStore


def fill(text: str, name: str = "a/b.txt"):
    def build(path: Path) -> None:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text)

    return build


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "store")


def test_what_was_put_is_found_by_its_digest(store: DirectoryStore) -> None:
    digest = store.put(fill("one"))
    assert (store.path(digest) / "a" / "b.txt").read_text() == "one"
    assert store.digests() == (digest,)
    store.verify(digest)


def test_the_same_content_has_the_same_digest_wherever_it_is_put(store: DirectoryStore, tmp_path: Path) -> None:
    digest = store.put(fill("one"))
    assert store.put(fill("one")) == digest
    assert DirectoryStore(tmp_path / "other").put(fill("one")) == digest
    assert len({digest, store.put(fill("two")), store.put(fill("one", "c.txt"))}) == 3


def test_a_builder_that_fails_leaves_nothing(store: DirectoryStore, tmp_path: Path) -> None:
    def build(path: Path) -> None:
        (path / "half").write_text("x")
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        store.put(build)
    assert list((tmp_path / "store").iterdir()) == []


def test_a_full_disk_is_said_so_and_leaves_nothing(store: DirectoryStore, tmp_path: Path) -> None:
    def build(path: Path) -> None:
        (path / "half").write_text("x")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(DiskFullError):
        store.put(build)
    assert list((tmp_path / "store").iterdir()) == []


class StoppedError(Exception):
    pass


def stop() -> None:
    raise StoppedError


def test_before_its_commit_a_directory_is_not_there_and_after_it_is_whole(store: DirectoryStore) -> None:
    with armed("store.put.before", stop), pytest.raises(StoppedError):
        store.put(fill("one"))
    assert store.digests() == ()
    with armed("store.put.after", stop), pytest.raises(StoppedError):
        store.put(fill("one"))
    (digest,) = store.digests()
    store.verify(digest)
    assert store.put(fill("one")) == digest


def test_a_changed_byte_is_found_and_its_file_named(store: DirectoryStore) -> None:
    digest = store.put(fill("one"))
    (store.path(digest) / "a" / "b.txt").write_text("onE")
    with pytest.raises(CorruptDataError, match=r"b\.txt"):
        store.verify(digest)


def test_a_missing_an_added_and_an_unlisted_file_are_found(store: DirectoryStore) -> None:
    digest = store.put(fill("one"))
    extra = store.path(digest) / "extra.txt"
    extra.write_text("x")
    with pytest.raises(CorruptDataError, match=r"extra\.txt"):
        store.verify(digest)
    extra.unlink()
    (store.path(digest) / "a" / "b.txt").unlink()
    with pytest.raises(CorruptDataError, match=r"b\.txt"):
        store.verify(digest)
    with pytest.raises(CorruptDataError, match="manifest"):
        store.verify("0" * 64)


def test_putting_again_mends_what_was_corrupted(store: DirectoryStore) -> None:
    digest = store.put(fill("one"))
    (store.path(digest) / "a" / "b.txt").write_text("broken")
    assert store.put(fill("one")) == digest
    store.verify(digest)


def test_collecting_keeps_what_is_named_and_removes_the_rest_and_the_half_built(
    store: DirectoryStore, tmp_path: Path
) -> None:
    kept, gone = store.put(fill("one")), store.put(fill("two"))
    (tmp_path / "store" / ".building-left").mkdir()
    assert store.collect({kept}) == (gone,)
    assert store.digests() == (kept,)
    assert [entry.name for entry in (tmp_path / "store").iterdir()] == [kept]
    with pytest.raises(NotFoundError):
        store.path(gone)


def test_a_name_that_is_no_digest_never_leaves_the_store(store: DirectoryStore) -> None:
    for name in ("..", "../other", "", "x" * 64):
        with pytest.raises(NotFoundError):
            store.path(name)


def test_an_empty_store_holds_nothing(store: DirectoryStore) -> None:
    assert store.digests() == ()
    assert store.collect(set()) == ()
