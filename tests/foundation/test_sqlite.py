"""The SQLite kit: private, of the right kind and version, and in the tree's words when something is wrong."""

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from headrace.foundation.errors import (
    CorruptDataError,
    DiskFullError,
    FinalError,
    InvalidDeclarationError,
    StateVersionError,
    UnavailableError,
)
from headrace.foundation.sqlite import Schema, SqliteFile, run

NOTES = Schema(
    what="the notebook",
    application_id=0x4E4F5445,
    version=1,
    readable_since="0.1.0",
    tables="CREATE TABLE notes(id INTEGER PRIMARY KEY, text TEXT NOT NULL);\nCREATE INDEX by_text ON notes(text);",
    damaged="write it again",
)


def opened(path: Path, schema: Schema = NOTES) -> sqlite3.Connection:
    file = SqliteFile(path, schema)
    file.prepare()
    return file.connect(writable=True)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "notes.sqlite"


# Private


_TAKES_IT_AWAY = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
print(connection.execute("SELECT COUNT(*) FROM notes").fetchone()[0])
connection.close()
"""


def test_the_file_opened_a_second_time_keeps_the_locks_of_the_first(path: Path) -> None:
    """Otherwise another process that closes it takes the write-ahead log for its own, and deletes it."""
    with closing(opened(path)) as first:
        first.execute("INSERT INTO notes VALUES (1, 'a')")
        opened(path).close()
        other = [sys.executable, "-c", _TAKES_IT_AWAY, str(path)]
        assert subprocess.run(other, capture_output=True, text=True, check=True).stdout == "1\n"

        assert path.with_name("notes.sqlite-wal").exists()
        first.execute("INSERT INTO notes VALUES (2, 'b')")
        assert subprocess.run(other, capture_output=True, text=True, check=True).stdout == "2\n"


def test_a_new_file_and_its_directory_are_their_owners_alone(path: Path) -> None:
    with closing(opened(path)) as connection:
        connection.execute("INSERT INTO notes VALUES (1, 'a')")

        assert mode(path.parent) == 0o700
        assert {one.name: mode(one) for one in path.parent.iterdir()} == {
            "notes.sqlite": 0o600,
            "notes.sqlite-shm": 0o600,
            "notes.sqlite-wal": 0o600,
        }


def test_files_and_directories_that_were_open_to_all_are_tightened(path: Path) -> None:
    path.parent.mkdir(mode=0o755)
    path.parent.chmod(0o755)
    left_open = opened(path)
    left_open.execute("INSERT INTO notes VALUES (1, 'a')")
    for one in (path.parent, *path.parent.iterdir()):
        one.chmod(0o755 if one.is_dir() else 0o644)

    with closing(left_open), closing(opened(path)):
        assert mode(path.parent) == 0o700
        assert {mode(one) for one in path.parent.iterdir()} == {0o600}
        assert len(list(path.parent.iterdir())) == 3


def test_a_directory_that_all_users_share_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)

    with pytest.raises(InvalidDeclarationError, match=r"all users share this directory.* — Use a directory inside it"):
        opened(shared / "notes.sqlite")
    assert mode(shared) == 0o1777
    assert list(shared.iterdir()) == []


# Durable


def test_every_file_is_kept_alike(path: Path) -> None:
    with closing(opened(path)) as connection:
        names = ("journal_mode", "synchronous", "auto_vacuum", "page_size", "secure_delete", "query_only")
        kept = {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names}

    assert kept == {
        "journal_mode": "wal", "synchronous": 2, "auto_vacuum": 2, "page_size": 8192, "secure_delete": 2, "query_only": 0,
    }  # fmt: skip


def test_a_connection_for_reading_refuses_to_write(path: Path) -> None:
    file = SqliteFile(path, NOTES)
    file.prepare()
    with closing(file.connect()) as connection, pytest.raises(UnavailableError, match="readonly"), file.translated():
        connection.execute("INSERT INTO notes VALUES (1, 'a')")


def test_several_who_open_a_new_file_at_once_find_one(path: Path) -> None:
    start, found = threading.Barrier(8), list[int]()

    def work() -> None:
        start.wait()
        with closing(opened(path)) as connection:
            found.append(connection.execute("SELECT count(*) FROM notes").fetchone()[0])

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert found == [0] * 8


# Kind and version


def test_a_file_of_a_newer_headrace_is_refused_with_the_version_that_reads_it_and_left_as_it_is(path: Path) -> None:
    newer = replace(NOTES, version=7, readable_since="2.5.0")
    opened(path, newer).close()
    before = path.read_bytes()

    with pytest.raises(StateVersionError, match=r"the notebook has schema 7.*up to 1 — Use Headrace 2\.5\.0 or newer"):
        opened(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("version", [0, 1, 7])
def test_a_sqlite_file_of_somebody_else_is_refused_and_left_as_it_is(path: Path, version: int) -> None:
    path.parent.mkdir(mode=0o700)
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE theirs(x)")
        other.execute(f"PRAGMA user_version={version}")
        other.commit()
    before = path.read_bytes()

    with pytest.raises(CorruptDataError, match="not Headrace's notebook"):
        opened(path)
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_damaged_and_the_error_says_what_to_do(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"no database at all " * 100)

    with pytest.raises(CorruptDataError, match=r"notes\.sqlite: the notebook: .* — Write it again"):
        opened(path)


def second(connection: sqlite3.Connection) -> None:
    run(connection, "ALTER TABLE notes ADD COLUMN author TEXT NOT NULL DEFAULT 'unknown';\nDROP INDEX by_text;")


def third(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE notes SET author = upper(author)")


THIRD = replace(NOTES, version=3, readable_since="0.3.0", migrations={1: second, 2: third})


def test_an_older_file_is_brought_forward_step_by_step_with_what_it_holds(path: Path) -> None:
    with closing(opened(path)) as connection:
        connection.execute("INSERT INTO notes VALUES (1, 'a')")
    with closing(opened(path, THIRD)) as connection:
        assert connection.execute("SELECT * FROM notes").fetchall() == [(1, "a", "UNKNOWN")]
        assert connection.execute("PRAGMA user_version").fetchone() == (3,)

    with pytest.raises(StateVersionError, match=r"Use Headrace 0\.3\.0 or newer"):
        opened(path)


def test_a_migration_that_fails_leaves_the_older_file(path: Path) -> None:
    def fail(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM notes")
        connection.execute("SELECT x FROM nowhere")

    with closing(opened(path)) as connection:
        connection.execute("INSERT INTO notes VALUES (1, 'a')")
    with pytest.raises(FinalError, match="nowhere"):
        opened(path, replace(THIRD, migrations={1: second, 2: fail}))

    with closing(opened(path)) as connection:
        assert connection.execute("SELECT * FROM notes").fetchall() == [(1, "a")]


def test_a_version_that_nothing_leads_forward_from_is_refused(path: Path) -> None:
    opened(path).close()

    with pytest.raises(StateVersionError, match="schema 1, which this Headrace no longer reads"):
        opened(path, replace(NOTES, version=2))


def test_a_file_from_before_there_were_marks_gets_one(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as old:
        old.execute("CREATE TABLE notes(id INTEGER PRIMARY KEY, text TEXT NOT NULL)")
        old.execute("PRAGMA user_version=1")
    marked = replace(NOTES, version=2, marked_since=2, migrations={1: lambda _: None})

    opened(path, marked).close()

    with closing(sqlite3.connect(path)) as file:
        assert file.execute("PRAGMA application_id").fetchone() == (NOTES.application_id,)
        assert file.execute("SELECT value FROM about WHERE name = 'readable_since'").fetchone() == ("0.1.0",)


# Errors


def test_a_file_that_another_program_holds_is_unavailable(path: Path) -> None:
    file = SqliteFile(path, NOTES, ["PRAGMA busy_timeout=10"])
    file.prepare()
    with closing(file.connect(writable=True)) as one, closing(file.connect(writable=True)) as other:
        one.execute("BEGIN IMMEDIATE")
        with pytest.raises(UnavailableError, match="End the program that has the file open"), file.translated():
            other.execute("BEGIN IMMEDIATE")


def test_a_directory_that_is_a_file_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")

    with pytest.raises(UnavailableError, match="the notebook"):
        opened(tmp_path / "state" / "notes.sqlite")


def test_text_that_utf_8_cannot_hold_is_a_wrong_value(path: Path) -> None:
    file = SqliteFile(path, NOTES)
    file.prepare()
    with closing(file.connect(writable=True)) as connection, pytest.raises(InvalidDeclarationError), file.translated():
        connection.execute("INSERT INTO notes VALUES (1, ?)", ("\ud800",))


@pytest.fixture
def small_disk(tmp_path: Path) -> Generator[Path]:
    """A file system of 1 MB."""
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    folder = tmp_path / "small"
    folder.mkdir()
    made = subprocess.run([mount, "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, check=False)
    if made.returncode:
        pytest.skip(f"no small file system can be mounted here: {made.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_said_so_when_a_file_is_created_and_when_it_grows(small_disk: Path) -> None:
    file = SqliteFile(small_disk / "state" / "notes.sqlite", NOTES)
    with pytest.raises(OSError, match="No space"):
        (small_disk / "ballast").write_bytes(bytes(2_000_000))
    with pytest.raises(DiskFullError, match=r"disk is full: the notebook cannot be written.* — Free some disk space"):
        file.prepare()
    (small_disk / "ballast").unlink()

    file.prepare()
    with closing(file.connect(writable=True)) as connection, pytest.raises(DiskFullError), file.translated():
        connection.execute("INSERT INTO notes VALUES (1, ?)", ("x" * 2_000_000,))


def test_a_full_disk_without_a_small_one_at_hand(path: Path) -> None:
    file = SqliteFile(path, NOTES)
    file.prepare()
    with closing(file.connect(writable=True)) as connection:
        connection.execute("PRAGMA max_page_count=8")
        with pytest.raises(DiskFullError), file.translated():
            connection.execute("INSERT INTO notes VALUES (1, ?)", ("x" * 2_000_000,))
