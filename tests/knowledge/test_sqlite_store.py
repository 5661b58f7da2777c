"""The embedded store: its file, its other processes, its end in the middle of things."""

import errno
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from headrace.foundation import failpoints
from headrace.foundation.errors import (
    CorruptDataError,
    DiskFullError,
    FencedError,
    FinalError,
    InvalidDeclarationError,
    StateVersionError,
)
from headrace.knowledge.query import AsOf, Counts, StoreQuery
from headrace.knowledge.sqlite import open_store
from headrace.knowledge.sqlite.store import SqliteKnowledgeStore
from headrace.knowledge.store import StoreBatch, StoreOptions
from headrace.testing.knowledge_conformance.builders import (
    GENERATION,
    LATER,
    NEXT_GENERATION,
    TOPIC,
    all_documents,
    batch,
    found,
    put,
    question,
    revision,
    unit_vector,
)
from headrace.testing.knowledge_conformance.writer import DOCUMENTS
from headrace.testing.resource_ids import knowledge_base_id


@pytest.fixture
def options(tmp_path: Path) -> StoreOptions:
    return StoreOptions(knowledge_base_id("kb", "ns"), tmp_path / "state")


@pytest.fixture
def store(options: StoreOptions) -> Generator[SqliteKnowledgeStore]:
    with closing(open_store(options)) as store:
        yield store


@pytest.fixture
def epoch(store: SqliteKnowledgeStore) -> int:
    epoch = store.acquire("writer")
    store.put_generation(epoch, GENERATION)
    return epoch


def path_of(options: StoreOptions) -> Path:
    return options.state / "knowledge" / "ns.kb.sqlite"


def test_only_the_owner_may_read_it(store: SqliteKnowledgeStore, epoch: int, options: StoreOptions) -> None:
    put(store, epoch, revision("a", 1, "text"))

    folder = path_of(options).parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    files = list(folder.iterdir())
    assert len(files) == 3
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_it_is_durable_and_gives_its_room_back(store: SqliteKnowledgeStore, epoch: int, options: StoreOptions) -> None:
    with sqlite3.connect(path_of(options)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA auto_vacuum").fetchone() == (2,)
    connection.close()
    with store._writer.turn(epoch, "test") as turn:
        assert turn.connection.execute("PRAGMA synchronous").fetchone() == (2,)
    put(store, epoch, *(revision("a", n, f"{n} " + "long text " * 4_000) for n in range(1, 20)))

    def pages() -> int:
        with store._database.snapshot() as connection:
            return connection.execute("PRAGMA page_count").fetchone()[0]

    before = pages()
    assert store.purge(epoch, LATER) == 18
    assert pages() < before // 2


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ("PRAGMA user_version=99", StateVersionError),
        ("PRAGMA application_id=7", CorruptDataError),
    ],
)
def test_a_file_of_another_kind_or_time_is_refused(
    store: SqliteKnowledgeStore, options: StoreOptions, change: str, error: type[FinalError]
) -> None:
    store.close()
    with closing(sqlite3.connect(path_of(options))) as connection:
        connection.execute(change)

    with pytest.raises(error):
        open_store(options)


def test_garbage_and_foreign_databases_are_refused(options: StoreOptions) -> None:
    path_of(options).parent.mkdir(parents=True)
    path_of(options).write_bytes(b"no database at all, but long enough to be looked at" * 40)
    with pytest.raises(CorruptDataError):
        open_store(options)

    path_of(options).unlink()
    with closing(sqlite3.connect(path_of(options))) as connection:
        connection.execute("CREATE TABLE theirs(a)")
    with pytest.raises(CorruptDataError):
        open_store(options)


def test_a_closed_store_says_so(store: SqliteKnowledgeStore, epoch: int) -> None:
    store.close()
    with pytest.raises(FinalError, match="closed"):
        store.offset("t")
    with pytest.raises(FinalError, match="closed"):
        store.apply(epoch, StoreBatch(()))
    store.close()


def test_text_that_utf8_cannot_hold_is_refused_and_nothing_is_written(store: SqliteKnowledgeStore, epoch: int) -> None:
    for bad in (revision("a", 1, "half \ud800"), revision("\ud800", 1, "text"), revision("a", 1, "text", at=1 << 70)):
        made = batch(revision("good", 1, "text")) if bad.change.document == "\ud800" else None
        with pytest.raises((InvalidDeclarationError, UnicodeError)):
            store.apply(epoch, batch(revision("good", 1, "text"), bad) if made is None else made.__class__([bad]))
    assert all_documents(store) == {}


def test_another_process_sees_what_was_committed_at_its_next_query(
    store: SqliteKnowledgeStore, epoch: int, options: StoreOptions
) -> None:
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from headrace.knowledge.sqlite import open_store\n"
        "from headrace.knowledge.store import StoreOptions\n"
        "from headrace.testing.knowledge_conformance.builders import all_documents\n"
        "from headrace.testing.resource_ids import knowledge_base_id\n"
        "store = open_store(StoreOptions(knowledge_base_id('kb', 'ns'), Path(sys.argv[1])))\n"
        "for line in sys.stdin: print(sorted(all_documents(store).items()), flush=True)\n"
        "store.close()\n"
    )
    command = [sys.executable, "-c", program, str(options.state)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        for change, expected in [
            (revision("a", 1, "one"), [("a", "v1")]),
            (revision("b", 2, "two"), [("a", "v1"), ("b", "v2")]),
            (revision("a", 3, None), [("b", "v2")]),
            (revision("b", 4, "more"), [("b", "v4")]),
        ]:
            put(store, epoch, change)
            other.stdin.write("look\n")
            other.stdin.flush()
            assert other.stdout.readline() == f"{expected}\n"
        other.stdin.close()


_WRITER = """
import sys
from pathlib import Path
from headrace.foundation.failpoints import arm_from_environment
from headrace.knowledge.sqlite import open_store
from headrace.knowledge.store import StoreOptions
from headrace.testing.knowledge_conformance.writer import turn
from headrace.testing.resource_ids import knowledge_base_id
arm_from_environment()
store = open_store(StoreOptions(knowledge_base_id("kb", "ns"), Path(sys.argv[1])))
epoch = store.acquire("child")
for number in range(100):
    store.apply(epoch, turn(number))
"""


@pytest.mark.kill
@pytest.mark.parametrize(("side", "batches"), [("before", 3), ("within", 3), ("after", 4)])
def test_a_writer_that_is_killed_at_its_fourth_commit_loses_and_tears_nothing(
    store: SqliteKnowledgeStore, epoch: int, options: StoreOptions, side: str, batches: int
) -> None:
    all_documents(store)
    environment = {**os.environ, "HEADRACE_FAILPOINT": f"knowledge.apply.{side}:4"}
    done = subprocess.run([sys.executable, "-c", _WRITER, str(options.state)], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL

    with closing(open_store(options)) as again:
        for one in (store, again):
            assert set(all_documents(one).values()) == {f"v{batches}"}
            assert one.state("turn") == b"%d" % (batches - 1)
            assert one.offset(TOPIC) == batches * DOCUMENTS
            assert one.counts(GENERATION.id, AsOf(LATER)) == Counts(DOCUMENTS, 2 * DOCUMENTS)
            for mode in ("vector", "keyword"):
                hits = one.search(question("number again", mode=mode, limit=100))
                assert sorted(found(hits)) == [(f"d{n}", f"v{batches}", k) for n in range(DOCUMENTS) for k in (0, 1)]
        put(again, again.acquire("next"), revision("d0", 100, "goes on"))
        assert all_documents(store)["d0"] == "v100"


def test_a_restart_answers_as_before(store: SqliteKnowledgeStore, epoch: int, options: StoreOptions) -> None:
    for n in range(12):
        texts = [None if (n + k) % 5 == 4 else f"text {n} of {k}\n\nsame words" for k in range(4)]
        put(store, epoch, *(revision(f"d{k}", n * 10 + k, text) for k, text in enumerate(texts)))
    asked = [question("text of words", at=at, mode=mode) for at in (5, 55, LATER) for mode in ("vector", "hybrid")]
    before = [store.search(one) for one in asked]

    with closing(open_store(options)) as again:
        assert [again.search(one) for one in asked] == before
        assert all(before)


def test_a_version_appears_and_leaves_when_its_time_comes_without_any_commit(
    store: SqliteKnowledgeStore, epoch: int
) -> None:
    put(store, epoch, revision("a", 10, "old"), revision("a", 20, "new", valid=100), revision("a", 30, None, valid=200))

    for at, version in [(50, "v10"), (99, "v10"), (100, "v20"), (150, "v20"), (199, "v20"), (200, None), (60, "v10")]:
        asked = StoreQuery(GENERATION.id, AsOf(at), "vector", 5, unit_vector("q"))
        assert [hit.version for hit in store.search(asked)] == ([version] if version else [])


@pytest.mark.parametrize("point", ["before", "within"])
def test_a_full_disk_leaves_nothing_and_the_same_call_succeeds_later(
    store: SqliteKnowledgeStore, epoch: int, point: str
) -> None:
    put(store, epoch, revision("a", 1, "one"))
    made = StoreBatch(
        [revision("a", 2, "new words"), revision("b", 2, "more words")],
        {"t": (0, 2)},
        batch(revision("a", 2, "new words"), revision("b", 2, "more words")).vectors,
        {"k": b"v"},
    )

    def no_room() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with failpoints.armed(f"knowledge.apply.{point}", no_room), pytest.raises(DiskFullError):
        store.apply(epoch, made)
    assert (all_documents(store), store.offset("t"), store.state("k")) == ({"a": "v1"}, 0, None)
    assert store.search(question("new words", mode="keyword")) == []

    assert store.apply(epoch, made).applied == 2
    assert all_documents(store) == {"a": "v2", "b": "v2"}
    assert len(store.search(question("new words", mode="keyword"))) == 2


def test_a_file_that_may_not_grow_is_a_full_disk(store: SqliteKnowledgeStore, epoch: int) -> None:
    put(store, epoch, revision("a", 1, "one"))
    connection = store._writer._connection
    assert connection is not None
    connection.execute("PRAGMA max_page_count=1")

    with pytest.raises(DiskFullError):
        put(store, epoch, *(revision(f"d{n}", 1, "long " * 9_000) for n in range(20)))

    connection.execute("PRAGMA max_page_count=1000000")
    assert set(all_documents(store)) <= {"a", *(f"d{n}" for n in range(20))}
    put(store, epoch, revision("b", 1, "two"))
    assert all_documents(store)["b"] == "v1"


def test_a_fenced_writer_leaves_nothing(store: SqliteKnowledgeStore, epoch: int, options: StoreOptions) -> None:
    with closing(open_store(options)) as other:
        newer = other.acquire("other")
        with pytest.raises(FencedError, match="other has held"):
            put(store, epoch, revision("a", 1, "one"))
        put(other, newer, revision("a", 2, "two"))
    assert all_documents(store) == {"a": "v2"}


def test_an_index_in_memory_follows_purges_drops_and_new_generations(store: SqliteKnowledgeStore, epoch: int) -> None:
    put(store, epoch, *(revision("a", n, f"text {n}") for n in range(1, 30)))
    put(store, epoch, revision("b", 3, "text"))
    assert set(all_documents(store, 5)) == {"a", "b"}

    assert store.purge(epoch, LATER) == 28

    for _ in range(3):
        assert all_documents(store, 5) == {"b": "v3"}
        assert all_documents(store) == {"a": "v29", "b": "v3"}
    put(store, epoch, revision("a", 40, "text 1"), revision("b", 41, None))
    assert all_documents(store) == {"a": "v40"}
    store.put_generation(epoch, NEXT_GENERATION)
    assert store.search(question("text", generation=NEXT_GENERATION)) == []
    store.drop_generation(epoch, GENERATION.id)
    with pytest.raises(FinalError, match="no generation"):
        store.search(question("text"))


def test_an_exact_search_equals_the_plain_definition_whatever_the_vectors(
    store: SqliteKnowledgeStore, epoch: int, options: StoreOptions
) -> None:
    """Also where the float32 vectors are not held in memory."""
    draw = np.random.default_rng(5)
    near = draw.standard_normal(GENERATION.dimension)
    rows = [near + 1e-4 * draw.standard_normal(GENERATION.dimension) for _ in range(300)]
    rows += [draw.standard_normal(GENERATION.dimension) for _ in range(300)] + [near] * 20
    vectors = [(row / np.linalg.norm(row)).astype(np.float32) for row in rows]
    made = [revision(f"d{n:03d}", 1, f"text {n}") for n in range(len(rows))]
    hashes = [one.chunks[GENERATION.id][0].hash for one in made]
    store.apply(epoch, StoreBatch(made, vectors={GENERATION.model: dict(zip(hashes, vectors, strict=True))}))

    asked = vectors[7]
    scores = [float((one.astype(np.float64) * asked.astype(np.float64)).sum()) for one in vectors]
    best = sorted(range(len(rows)), key=lambda n: (-scores[n], n))[:40]
    with closing(open_store(StoreOptions(options.id, options.state, exact_up_to=10))) as small:
        for one in (store, small):
            hits = one.search(StoreQuery(GENERATION.id, AsOf(LATER), "vector", 40, asked, exact=True))
            assert [hit.document for hit in hits] == [f"d{n:03d}" for n in best]
            assert [hit.score for hit in hits] == [scores[n] for n in best]
    assert store.counts(GENERATION.id, AsOf(LATER)) == Counts(620, 620)
