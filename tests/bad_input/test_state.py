"""A state directory that is damaged, newer, or somebody else's is refused in clear words, before anything is written."""

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headrace.control.stage_thread import StageThread
from headrace.control.supervisor import StateLock
from headrace.foundation.errors import BusyError, CorruptDataError, FencedError, StateVersionError
from headrace.foundation.sqlite import SqliteFile
from headrace.log.registry import open_log
from headrace.stages.context import StageContext
from headrace.stages.stage_type import stage_type
from headrace.stages.topology import Topology
from headrace.teachers.store_file import SCHEMA

ROW = '{"id": "q%d", "event_time": "2023-11-14T22:13:00Z", "text": "where is my card", "amount": 1, "team": "cards"}\n'


def command(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    code = "from headrace.doors.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments, "--state", str(folder / "state")],
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip


@pytest.fixture
def ran(folder: Path, run: Callable[..., Any]) -> Path:
    """A job that has run."""
    (folder / "questions.jsonl").write_text("".join(ROW % number for number in range(20)), "utf-8")
    run()
    return folder


def test_a_log_of_a_newer_version_is_refused_with_exit_code_5(ran: Path):
    database = sqlite3.connect(ran / "state" / "log.sqlite")
    database.execute("PRAGMA user_version = 99")
    database.execute("UPDATE about SET value = '7.0.0' WHERE name = 'readable_since'")
    database.commit()
    database.close()
    with pytest.raises(StateVersionError, match=r"Use Headrace 7\.0\.0 or newer"):
        open_log(ran / "state")
    done = command(ran, "topics")
    assert done.returncode == 5
    assert "7.0.0" in done.stderr
    assert "Traceback" not in done.stderr


def test_teachers_answers_of_a_newer_version_are_refused(
    ran: Path, with_teacher: Callable[..., None], opened: Callable[..., Any]
):
    with_teacher(ran, "http://127.0.0.1:9/v1")
    SqliteFile(ran / "state" / "teachers.sqlite", SCHEMA).prepare()
    database = sqlite3.connect(ran / "state" / "teachers.sqlite")
    database.execute("PRAGMA user_version = 99")
    database.close()
    pipeline = opened(holder="two")
    with pytest.raises(StateVersionError, match=r"teachers\.sqlite: the answer store has schema 99"):
        pipeline.open()
    pipeline.close()


def test_a_log_that_is_no_log_is_refused(ran: Path):
    path = ran / "state" / "log.sqlite"
    for extra in ("-wal", "-shm"):
        path.with_name(path.name + extra).unlink(missing_ok=True)
    path.write_bytes(b"this is not a database" * 1_000)
    with pytest.raises(CorruptDataError, match="Restore the state directory, or start a new one"):
        open_log(ran / "state")
    done = command(ran, "topics")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_a_damaged_store_of_answers_is_refused(
    ran: Path, with_teacher: Callable[..., None], opened: Callable[..., Any]
):
    with_teacher(ran, "http://127.0.0.1:9/v1")
    (ran / "state" / "teachers.sqlite").write_bytes(b"nonsense" * 2_000)
    pipeline = opened(holder="two")
    with pytest.raises(CorruptDataError, match="Move the file away"):
        pipeline.open()
    pipeline.close()


@pytest.mark.slow
def test_two_supervisors_never_share_a_state_directory(ran: Path):
    lock = StateLock(ran / "state")
    with pytest.raises(BusyError, match=r"another headrace \(process \d+\) is running on"):
        StateLock(ran / "state")
    done = command(ran, "run", "-f", str(ran / "job.yaml"), "--until-idle", "--port", "0", "--no-live")
    assert done.returncode == 5
    assert "another headrace" in done.stderr
    lock.release()
    StateLock(ran / "state").release()


def test_a_stage_whose_lease_was_taken_ends_with_exit_code_6_and_writes_nothing(
    ran: Path, topology: Callable[[], Topology], opened: Callable[..., Any]
):
    log = open_log(ran / "state")
    before = [(info.spec.name, info.end_offset) for info in log.topics()]
    whole = topology()
    (prompt,) = whole.of_kind("prompt")
    opener = stage_type("prompt").open
    assert opener is not None
    taken, fenced = threading.Event(), threading.Event()

    def open_then_lose() -> Any:
        stage = opener(prompt, StageContext(log, "old", ran / "state"))
        log.acquire_lease(stage.name, "new")
        taken.set()
        return stage

    with (ran / "questions.jsonl").open("a", encoding="utf-8") as file:
        file.write(ROW % 20)
    ingest = opened(holder="two")
    ingest.open()
    for stage in ingest.stages[:2]:
        while stage.step():
            pass
    thread = StageThread(open_then_lose, log, fenced.set)
    thread.start()
    assert fenced.wait(60)
    thread.stop()
    assert taken.is_set()
    assert thread.exit_code == FencedError.exit_code == 6
    after = {info.spec.name: info.end_offset for info in log.topics()}
    assert after["default.desk.prompts"] == dict(before)["default.desk.prompts"]
    ingest.close()
    log.close()
