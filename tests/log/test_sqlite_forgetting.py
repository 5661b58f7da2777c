"""What SQLite's log promises about forgetting beyond the port: the files themselves no longer hold it, and look-ups do not scan."""

import random
import sqlite3
import stat
from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from headrace.foundation.errors import UnavailableError
from headrace.log.record import NewRecord
from headrace.log.sqlite import open_log, queries, redacting
from headrace.log.sqlite.topic_log import SqliteTopicLog
from headrace.log.topic_log import Append, Commit, GroupOffset, StateKey, TopicLog, TopicSpec
from headrace.testing.builders import append, new_record, new_records, read_all
from headrace.testing.clock import VirtualClock

SUBJECT = "anna.lind"
"""Part of everything that a record of this person says."""


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def log(tmp_path: Path, clock: VirtualClock) -> Generator[TopicLog]:
    with closing(open_log(tmp_path, clock=clock)) as opened:
        yield opened


def about(name: str, number: int, size: int) -> NewRecord:
    """A record in which every field but the numbers names a person."""
    filling = random.Random(number).randbytes(size // 2).hex().encode()
    value = name.encode() + filling + f"<{name}>".encode()
    return new_record(f"{name}/{number}", value, key=f"key:{name}", origin=f'{{"of":"{name}"}}')


def holding(state: Path, needle: bytes) -> dict[str, int]:
    """How often the bytes stand in each file of the log."""
    files = [one for one in state.iterdir() if one.name.startswith("log.sqlite")]
    assert any(one.name == "log.sqlite" for one in files)
    return {one.name: count for one in files if (count := one.read_bytes().count(needle))}


def fill(log: TopicLog, sizes: tuple[int, ...]) -> list[str]:
    """Records of one person between those of others, in topics of every kind. Gives the person's ids."""
    specs = [
        TopicSpec("plain"),
        TopicSpec("unique", unique_ids=True),
        TopicSpec("indexed", indexed_ids=True, retention_ms=10**9),
        TopicSpec("compacted", compacted=True, retention_ms=0, unique_ids=True),
    ]
    for spec in specs:
        log.ensure_topic(spec)
        for number in range(0, 60, 3):
            size = sizes[number % len(sizes)]
            people = [about("other", number, size), about(SUBJECT, number + 1, size), about("third", number + 2, 9)]
            append(log, spec.name, people)
    return [f"{SUBJECT}/{number + 1}" for number in range(0, 60, 3)]


@pytest.mark.parametrize(
    "sizes", [(20,), (3_000, 40), (100_000, 9_000, 20)], ids=["short", "half a page", "overflowing"]
)
def test_after_a_redaction_no_file_of_the_log_holds_the_former_bytes(
    log: TopicLog, tmp_path: Path, clock: VirtualClock, sizes: tuple[int, ...]
) -> None:
    ids = fill(log, sizes)
    log.commit(Commit(offsets=[GroupOffset("g", "compacted", 7)]))
    clock.advance(1)
    log.trim(clock.now_ms())  # leaves free pages, and pages whose records were moved
    assert set(holding(tmp_path, SUBJECT.encode())) >= {"log.sqlite"}
    others = {name: [one for one in read_all(log, name) if SUBJECT not in one.id] for name in ("plain", "compacted")}

    report = log.redact(dict.fromkeys(("plain", "unique", "indexed", "compacted"), ids))

    assert holding(tmp_path, SUBJECT.encode()) == {}
    assert len(report.records) > 60
    assert all(one.before != one.after for one in report.records)
    for name, kept in others.items():
        assert [one for one in read_all(log, name) if one.kind != "redacted/1"] == kept
    log.close()
    assert holding(tmp_path, SUBJECT.encode()) == {}
    with closing(sqlite3.connect(tmp_path / "log.sqlite")) as file:
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_reader_that_still_sees_the_former_bytes_makes_the_redaction_unfinished_until_it_is_repeated(
    log: TopicLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redacting, "_READERS_MILLISECONDS", 20)
    append(log, "t", [about(SUBJECT, 1, 20_000)])
    with closing(sqlite3.connect(tmp_path / "log.sqlite", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM records_1").fetchone()
        with pytest.raises(UnavailableError, match=r"a reader still keeps.* redact again"):
            log.redact({"t": [f"{SUBJECT}/1"]})
        assert read_all(log, "t")[0].kind == "redacted/1"
        reader.execute("ROLLBACK")
        assert holding(tmp_path, SUBJECT.encode())

        assert log.redact({"t": [f"{SUBJECT}/1"]}).records == ()

    assert holding(tmp_path, SUBJECT.encode()) == {}


def test_an_id_of_a_large_topic_is_found_through_its_index(log: TopicLog) -> None:
    log.ensure_topic(TopicSpec("answers", indexed_ids=True))
    for start in range(0, 200_000, 20_000):
        append(log, "answers", new_records(range(start, start + 20_000)))
    append(log, "answers", new_records(["r7", "last"]))
    assert isinstance(log, SqliteTopicLog)
    with log._reading() as connection:
        topic = queries.get_topic(connection, "answers").number
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {queries.ids_look_up(topic)}", (b"",))]
        record = connection.execute("EXPLAIN QUERY PLAN SELECT id FROM records_1 WHERE offset = 1").fetchall()
        steps = list[int]()
        connection.set_progress_handler(lambda: steps.append(1), 1_000)
        found = [queries.find_record(connection, "answers", name) for name in ("r7", "r199999", "none")]
        connection.set_progress_handler(None, 0)

    assert [one.offset if one else None for one in found] == [200_000, 199_999, None]
    assert len(plan) == 2
    assert all(step.startswith("SEARCH") for step in [*plan, record[0][3]])
    assert steps == []  # less than 1,000 steps of SQLite's machine in each


def test_a_reader_that_knew_a_deleted_topic_never_reads_another_in_its_place(log: TopicLog, tmp_path: Path) -> None:
    with closing(open_log(tmp_path)) as other:
        append(log, "a", new_records(["of a"]))
        assert [one.id for one in other.read("a", 0)] == ["of a"]
        log.delete_topic("a")
        append(log, "b", new_records(["of b"]))
        append(log, "a", new_records(["of the new a"]))

        assert [one.id for one in other.read("a", 0)] == ["of the new a"]
        assert [one.id for one in other.read("b", 0)] == ["of b"]


def test_what_a_newer_record_replaced_is_given_back_to_the_disk(
    log: TopicLog, clock: VirtualClock, tmp_path: Path
) -> None:
    log.ensure_topic(TopicSpec("docs", retention_ms=1_000, compacted=True))
    for turn in range(10):
        append(log, "docs", [new_record(f"{turn}/{n}", bytes(1_000), key=f"k{n}") for n in range(1_000)])
    full = (tmp_path / "log.sqlite").stat().st_size + (tmp_path / "log.sqlite-wal").stat().st_size
    clock.advance(10)

    report = log.trim(clock.now_ms())

    assert report.records == 9_000
    assert report.bytes_freed > 8_000_000
    assert (tmp_path / "log.sqlite").stat().st_size < 2_500_000 < 10_000_000 < full
    assert [record.id for record in read_all(log, "docs")] == [f"9/{n}" for n in range(1_000)]
    assert log.topic("docs").bytes == 1_000_000
    assert log.topic("docs").start_offset == 9_000
    assert log.trim(clock.now_ms()).records == 0


# The file


def test_a_state_directory_and_a_log_that_were_open_to_all_are_made_private(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    with closing(open_log(state)) as log:
        append(log, "t", new_records([1]))
        for one in (state, *state.iterdir()):
            one.chmod(0o755 if one.is_dir() else 0o644)
        with closing(open_log(state)):
            modes = {one.name: stat.S_IMODE(one.stat().st_mode) for one in state.iterdir()}

            assert stat.S_IMODE(state.stat().st_mode) == 0o700
            assert {name: mode for name, mode in modes.items() if name.startswith("log.sqlite")} == {
                "log.sqlite": 0o600,
                "log.sqlite-shm": 0o600,
                "log.sqlite-wal": 0o600,
            }


_VERSION_1 = """
PRAGMA journal_mode=WAL;
BEGIN;
CREATE TABLE about(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO about VALUES ('readable_since', '0.1.0');
CREATE TABLE topics(
  id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, partitions INTEGER NOT NULL, retention_ms INTEGER, unique_ids INTEGER NOT NULL);
CREATE TABLE streams(
  id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL, partition INTEGER NOT NULL, start_offset INTEGER NOT NULL,
  end_offset INTEGER NOT NULL, bytes INTEGER NOT NULL, UNIQUE(topic_id, partition));
CREATE TABLE offsets(
  topic_id INTEGER NOT NULL, partition INTEGER NOT NULL, group_name TEXT NOT NULL, next_offset INTEGER NOT NULL, hold INTEGER,
  PRIMARY KEY(topic_id, partition, group_name)) WITHOUT ROWID;
CREATE TABLE state(
  owner TEXT NOT NULL, key TEXT NOT NULL, version INTEGER NOT NULL, value BLOB NOT NULL, PRIMARY KEY(owner, key)) WITHOUT ROWID;
CREATE TABLE leases(role TEXT PRIMARY KEY, epoch INTEGER NOT NULL, holder TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE records_1(
  offset INTEGER PRIMARY KEY, id TEXT NOT NULL, kind TEXT NOT NULL, event_time INTEGER NOT NULL, key TEXT NOT NULL,
  origin TEXT NOT NULL, ingested_at INTEGER NOT NULL, arrived_at INTEGER NOT NULL, value BLOB NOT NULL);
CREATE TABLE ids_1(id TEXT PRIMARY KEY, partition INTEGER NOT NULL, offset INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO topics VALUES (1, 'ns.u', 1, 5000, 1);
INSERT INTO streams VALUES (1, 1, 0, 0, 2, 2);
INSERT INTO records_1 VALUES (0, 'a', 'row/1', 1, '', '', 1, 1, x'31'), (1, 'b', 'row/1', 2, '', '', 2, 2, x'32');
INSERT INTO ids_1 VALUES ('a', 0, 0), ('b', 0, 1);
INSERT INTO offsets VALUES (1, 0, 'g', 2, 1);
INSERT INTO state VALUES ('o', 'k', 3, x'ff');
INSERT INTO leases VALUES ('role', 4, 'me');
PRAGMA application_id=1213353031;
PRAGMA user_version=1;
COMMIT;
"""


def test_a_log_of_the_version_before_is_brought_forward_with_everything_in_it(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "log.sqlite", isolation_level=None)) as file:
        file.executescript(_VERSION_1)

    with closing(open_log(tmp_path)) as log:
        spec = TopicSpec("ns.u", retention_ms=5_000, unique_ids=True)
        assert log.topic("ns.u").spec == spec
        assert [(one.offset, one.id, one.value) for one in read_all(log, "ns.u")] == [(0, "a", b"1"), (1, "b", b"2")]
        assert log.groups() == [GroupOffset("g", "ns.u", 2, hold=1)]
        assert log.state("o")["k"].version == 3
        assert log.acquire_lease("role", "next").epoch == 5
        assert log.commit(Commit([Append("ns.u", new_records("bc"))])).duplicates == {"ns.u": 1}
        found = log.find("ns.u", "a")
        assert found is not None
        assert found.offset == 0
        log.commit(Commit(state={StateKey("o", "k"): None}, truncate=["ns.u"]))
        log.ensure_topic(replace(spec, compacted=True))
        append(log, "ns.new", new_records(["n"]))
        assert [one.id for one in read_all(log, "ns.new")] == ["n"]
