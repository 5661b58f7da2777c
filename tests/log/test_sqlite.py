"""The log on SQLite: the port's conformance, and what is SQLite's own."""

import fcntl
import os
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from headrace.foundation.errors import (
    ConflictError,
    CorruptDataError,
    DiskFullError,
    FinalError,
    HeadraceError,
    InvalidDeclarationError,
    StateVersionError,
    UnavailableError,
)
from headrace.foundation.failpoints import armed
from headrace.log.sqlite import open_log
from headrace.log.sqlite.topic_log import SqliteTopicLog
from headrace.log.sqlite.turn import WriteTurn
from headrace.log.topic_log import Append, Commit, GroupOffset, StateKey, TopicLog, TopicSpec
from headrace.testing.builders import append, new_records, read_all
from headrace.testing.clock import VirtualClock
from headrace.testing.log_conformance import LogConformance
from headrace.testing.log_conformance.children import child, end
from headrace.testing.log_writers import OUT

PATIENCE_SECONDS = 60.0


class TestSqliteConformance(LogConformance):
    technology = "sqlite"

    def disk_usage(self, state: Path) -> int:
        return sum(path.stat().st_size for path in state.iterdir())

    def full_disk(self, log: TopicLog) -> AbstractContextManager[None]:
        return no_more_pages(log)


@contextmanager
def no_more_pages(log: TopicLog, spare: int = 0) -> Generator[None]:
    """SQLite itself refuses to grow the file by more than `spare` pages, as on a full disk."""
    connection = writer_of(log).connection
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count={pages + spare}")
    yield
    connection.execute("PRAGMA max_page_count=1073741823")


def writer_of(log: TopicLog):
    assert isinstance(log, SqliteTopicLog)
    return log._writer


@pytest.fixture
def log(tmp_path: Path, clock: VirtualClock) -> Generator[TopicLog]:
    with closing(open_log(tmp_path, clock=clock)) as log:
        log.ensure_topic(TopicSpec("t"))
        yield log


# The file


def test_a_log_of_a_newer_headrace_is_refused_with_the_version_that_reads_it(tmp_path: Path) -> None:
    open_log(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / "log.sqlite")) as file:
        file.execute("UPDATE about SET value = '2.5.0' WHERE name = 'readable_since'")
        file.commit()
        file.execute("PRAGMA user_version = 7")

    with pytest.raises(StateVersionError, match=r"log\.sqlite: .*schema 7.*Use Headrace 2\.5\.0 or newer"):
        open_log(tmp_path)


def test_a_file_that_is_no_log_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "log.sqlite").write_bytes(b"no database at all " * 100)
    (tmp_path / "b").mkdir()
    with closing(sqlite3.connect(tmp_path / "b" / "log.sqlite")) as file:
        file.execute("CREATE TABLE somebody_elses(x)")
        file.commit()
    (tmp_path / "c").mkdir()
    with closing(sqlite3.connect(tmp_path / "c" / "log.sqlite")) as file:
        file.execute("PRAGMA user_version = 1")

    for folder in "abc":
        with pytest.raises(CorruptDataError, match=r"log\.sqlite: "):
            open_log(tmp_path / folder)


def test_damaged_pages_are_reported_and_never_read_as_records(tmp_path: Path) -> None:
    with closing(open_log(tmp_path)) as log:
        append(log, "t", new_records(range(2_000), b"x" * 500))
    with (tmp_path / "log.sqlite").open("r+b") as file:
        file.seek(20 * 8192)
        file.write(os.urandom(40 * 8192))

    with closing(open_log(tmp_path)) as log, pytest.raises(CorruptDataError, match="Restore the state directory"):
        read_all(log, "t")


def test_a_file_cut_short_is_reported(tmp_path: Path) -> None:
    with closing(open_log(tmp_path)) as log:
        append(log, "t", new_records(range(2_000), b"x" * 500))
    os.truncate(tmp_path / "log.sqlite", 30 * 8192)

    with pytest.raises(CorruptDataError), closing(open_log(tmp_path)) as log:
        read_all(log, "t")


def test_a_state_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(UnavailableError):
        open_log(tmp_path / "file")


def test_the_file_is_kept_as_the_contract_says(log: TopicLog) -> None:
    connection = writer_of(log).connection

    settings = {
        name: connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous", "auto_vacuum")
    }

    assert settings == {"journal_mode": "wal", "synchronous": 2, "auto_vacuum": 2}


def test_partitions_grow_and_never_shrink(log: TopicLog) -> None:
    append(log, "t", new_records([1]))
    log.ensure_topic(TopicSpec("t", partitions=3))
    append(log, "t", new_records([2]), partition=2)

    with pytest.raises(InvalidDeclarationError, match="Declare 3 or more"):
        log.ensure_topic(TopicSpec("t", partitions=2))
    with pytest.raises(InvalidDeclarationError, match="Declare 1 or more"):
        log.ensure_topic(TopicSpec("new", partitions=0))
    assert [topic.spec.name for topic in log.topics()] == ["t"]
    assert [r.id for r in log.read("t", 0)] == ["r1"]


@pytest.mark.kill
def test_processes_that_open_a_fresh_state_directory_at_once_share_one_log(tmp_path: Path) -> None:
    with ExitStack() as running:
        children = [running.enter_context(child("append_one", "sqlite", tmp_path, name)) for name in "abcd"]
        for process in children:
            end(process)

    with closing(open_log(tmp_path)) as log:
        assert sorted(record.id for record in log.read(OUT, 0)) == ["a", "b", "c", "d"]


# Closing


def test_a_closed_log_refuses_every_call_and_may_be_closed_again(log: TopicLog) -> None:
    log.close()
    log.close()
    calls: list[Callable[[], object]] = [
        lambda: log.read("t", 0),
        lambda: log.commit(Commit()),
        log.topics,
        lambda: log.wait(0),
        lambda: log.trim(0),
        lambda: log.acquire_lease("r", "h"),
    ]
    for call in calls:
        with pytest.raises(FinalError, match="closed"):
            call()


def test_closing_leaves_one_file_with_everything_in_it(tmp_path: Path) -> None:
    with closing(open_log(tmp_path)) as log:
        append(log, "t", new_records(range(10)))

    assert not (tmp_path / "log.sqlite-wal").exists()
    with closing(open_log(tmp_path)) as log:
        assert len(log.read("t", 0)) == 10


# Group commit


def queue_up(log: TopicLog, commits: list[Commit]) -> list[object]:
    """Lets all commits wait behind a lock, then go at once. Returns what each gave or raised."""
    writer, outcomes = writer_of(log), [None] * len(commits)

    def run(index: int) -> None:
        try:
            outcomes[index] = log.commit(commits[index])
        except HeadraceError as error:
            outcomes[index] = error

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(commits))]
    with writer._leader:
        for waiting, thread in enumerate(threads, 1):
            thread.start()
            while len(writer._jobs) < waiting:
                pass
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    return outcomes


def test_callers_that_wait_share_one_transaction(log: TopicLog) -> None:
    transactions: list[int] = []
    with armed("log.commit.before", lambda: transactions.append(1)):
        outcomes = queue_up(log, [Commit([Append("t", new_records([n]))]) for n in range(16)])

    assert [outcome.first_offsets["t"] for outcome in outcomes] == list(range(16))
    assert len(transactions) == 1


def test_one_refused_commit_of_a_group_leaves_the_others(log: TopicLog) -> None:
    commits = [Commit([Append("t", new_records([n]))], expect={StateKey("s", "k"): int(n == 1)}) for n in range(3)]

    outcomes = queue_up(log, commits)

    assert isinstance(outcomes[1], ConflictError)
    assert [r.id for r in log.read("t", 0)] == ["r0", "r2"]


def test_a_commit_for_which_the_disk_has_no_room_leaves_the_small_ones_of_its_group(log: TopicLog) -> None:
    append(log, "t", new_records(["first"]))
    sizes = [10, 100_000, 10]
    with no_more_pages(log, spare=2):
        outcomes = queue_up(log, [Commit([Append("t", new_records([n], bytes(size)))]) for n, size in enumerate(sizes)])

    assert isinstance(outcomes[1], DiskFullError)
    assert isinstance(outcomes[1].__cause__, sqlite3.OperationalError)
    assert [r.id for r in log.read("t", 0)] == ["first", "r0", "r2"]


@pytest.mark.parametrize("point", ["log.commit.before", "log.commit.within"])
def test_an_interruption_before_the_end_of_a_transaction_undoes_it(log: TopicLog, point: str) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with armed(point, interrupt), pytest.raises(KeyboardInterrupt):
        append(log, "t", new_records([1]))

    assert append(log, "t", new_records([2])) == 0
    assert [r.id for r in log.read("t", 0)] == ["r2"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError("after the fact")])
def test_an_interruption_after_the_end_of_a_transaction_neither_undoes_nor_repeats_it(
    log: TopicLog, error: BaseException
) -> None:
    def interrupt() -> None:
        raise error

    with armed("log.commit.after", interrupt), pytest.raises(type(error)):
        append(log, "t", new_records([1]))

    assert append(log, "t", new_records([2])) == 1
    assert [r.id for r in log.read("t", 0)] == ["r1", "r2"]


def test_a_value_that_cannot_be_stored_fails_alone_and_in_the_ports_words(log: TopicLog) -> None:
    good, bad = new_records([1])[0], new_records(["\ud800"])[0]

    outcomes: list[object] = []
    for record in (bad, good):
        try:
            outcomes.append(log.commit(Commit([Append("t", [record])])).first_offsets)
        except HeadraceError as error:
            outcomes.append(type(error))

    assert outcomes == [InvalidDeclarationError, {"t": 0}]


# Turns


def test_a_writer_that_comes_back_at_once_queues_behind_whoever_waits(tmp_path: Path) -> None:
    busy, waiting, order = WriteTurn(tmp_path), WriteTurn(tmp_path), []

    def wait_for_turn() -> None:
        with waiting:
            order.append("waiting")

    thread = threading.Thread(target=wait_for_turn)
    with busy:
        thread.start()
        wait_until_queue_is_taken(tmp_path)
    with busy:
        order.append("busy")
    thread.join(PATIENCE_SECONDS)
    busy.close()
    waiting.close()

    assert order == ["waiting", "busy"]


def wait_until_queue_is_taken(state: Path) -> None:
    probe = os.open(state / "log.queue.lock", os.O_RDWR)
    try:
        while True:
            fcntl.flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(probe, fcntl.LOCK_UN)
    except BlockingIOError:
        return
    finally:
        os.close(probe)


def test_a_foreign_program_that_holds_the_file_makes_the_log_unavailable_not_wrong(
    log: TopicLog, tmp_path: Path
) -> None:
    writer_of(log).connection.execute("PRAGMA busy_timeout=10")
    with closing(sqlite3.connect(tmp_path / "log.sqlite", isolation_level=None)) as foreign:
        foreign.execute("BEGIN IMMEDIATE")
        with pytest.raises(UnavailableError, match="End the program that has the file"):
            append(log, "t", new_records([1]))
        foreign.execute("ROLLBACK")

    assert append(log, "t", new_records([2])) == 0


# Retention


def test_an_id_whose_record_was_dropped_may_come_again(log: TopicLog, clock: VirtualClock) -> None:
    append(log, "t", new_records(["a", "a"]))
    log.ensure_topic(TopicSpec("t", unique_ids=True, retention_ms=0))
    log.commit(Commit(offsets=[GroupOffset("g", "t", 1)]))
    clock.advance(1)
    log.trim(clock.now_ms())
    assert log.commit(Commit([Append("t", new_records(["a"]))])).duplicates == {"t": 1}
    log.forget_group("g")
    clock.advance(1)
    log.trim(clock.now_ms())

    assert log.commit(Commit([Append("t", new_records(["a"]))])).duplicates == {"t": 0}
    assert [r.offset for r in log.read("t", 0)] == [2]


def test_space_that_a_reader_still_needed_is_given_back_the_next_time(
    log: TopicLog, clock: VirtualClock, tmp_path: Path
) -> None:
    log.ensure_topic(TopicSpec("t", retention_ms=0))
    append(log, "t", new_records(range(5_000), bytes(1_000)))
    clock.advance(1)
    with closing(sqlite3.connect(tmp_path / "log.sqlite", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM topics").fetchone()
        assert log.trim(clock.now_ms()).records == 5_000
        held = (tmp_path / "log.sqlite").stat().st_size + (tmp_path / "log.sqlite-wal").stat().st_size
        reader.execute("COMMIT")

    report = log.trim(clock.now_ms())

    assert report.records == 0
    assert report.bytes_freed > 5_000_000
    assert (tmp_path / "log.sqlite").stat().st_size < 500_000 < 5_000_000 < held


def test_writers_go_on_while_retention_works(log: TopicLog, clock: VirtualClock) -> None:
    log.ensure_topic(TopicSpec("t", retention_ms=0))
    for start in range(0, 30_000, 10_000):
        append(log, "t", new_records(range(start, start + 10_000), b"x" * 100))
    log.ensure_topic(TopicSpec("kept"))
    clock.advance(1)
    now, done = clock.now_ms(), threading.Event()

    def trim() -> None:
        log.trim(now)
        done.set()

    thread = threading.Thread(target=trim)
    thread.start()
    written = 0
    while not done.is_set() or not written:
        append(log, "kept", new_records([written]))
        written += 1
    thread.join(PATIENCE_SECONDS)

    assert [r.id for r in read_all(log, "kept")] == [f"r{n}" for n in range(written)]
    assert log.topic("t").start_offset == 30_000


# A disk that is really full


@pytest.fixture
def small_disk(tmp_path: Path) -> Generator[Path]:
    """A file system of 2 MB."""
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    folder = tmp_path / "small"
    folder.mkdir()
    made = subprocess.run([mount, "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True, check=False)
    if made.returncode:
        pytest.skip(f"no small file system can be mounted here: {made.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_refuses_commits_until_there_is_room(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    with closing(open_log(small_disk / "state")) as log:
        append(log, "t", new_records(["first"]))
        ballast.write_bytes(bytes(1_500_000))
        commit = Commit([Append("t", new_records(range(1_000), bytes(1_000)))])
        with pytest.raises(DiskFullError, match="Free some disk"):
            log.commit(commit)
        assert [r.id for r in log.read("t", 0)] == ["first"]
        ballast.unlink()

        with pytest.raises(DiskFullError):  # the commit alone takes more than half of the disk, and is written twice
            log.commit(Commit([Append("t", new_records(range(2_500), bytes(1_000)))]))
        assert append(log, "t", new_records(range(300), bytes(1_000))) == 1


def test_a_disk_without_any_room_refuses_to_open_a_log(small_disk: Path) -> None:
    with pytest.raises(OSError, match="No space"):
        (small_disk / "ballast").write_bytes(bytes(3_000_000))

    with pytest.raises(DiskFullError):
        open_log(small_disk / "state")
    (small_disk / "ballast").unlink()
    open_log(small_disk / "state").close()
