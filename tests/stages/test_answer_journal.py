"""Answers from the gateway to the log: nothing that was kept is lost, nothing comes twice, what is lost is counted."""

import asyncio
import sqlite3
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from headrace.events import topics
from headrace.events.answer import Answer, Feedback
from headrace.events.message import Message
from headrace.foundation.clock import SYSTEM_CLOCK
from headrace.foundation.errors import (
    DiskFullError,
    FencedError,
    InvalidDeclarationError,
    NotFoundError,
    UnavailableError,
)
from headrace.foundation.failpoints import armed
from headrace.foundation.resource_id import ResourceId
from headrace.log.registry import open_log
from headrace.log.topic_log import Commit, TopicLog
from headrace.promotion import registry
from headrace.stages.serve.feedback import FeedbackDesk
from headrace.stages.serve.journal import AnswerJournal, JournalLimits
from headrace.stages.serve.log_versions import LogVersions
from headrace.stages.serve.options import ServedModel, ServeOptions
from headrace.stages.serve.stage import ServeStage
from headrace.stages.stage import read_statuses
from headrace.testing.builders import read_all
from headrace.testing.resource_ids import base_model_id, finetuner_id

MODELS = tuple(
    ServedModel(finetuner_id("desk", space), Path(), base_model_id("tiny", space)) for space in ("red", "blue")
)
RED, BLUE = (one.id for one in MODELS)


class Serve:
    """A journal and a stage over one state directory."""

    def __init__(self, state: Path, *, required: bool = False, limits: JournalLimits | None = None) -> None:
        self.state = state
        self.log: TopicLog = open_log(state)
        self.journal = AnswerJournal(state, required=required, limits=limits)
        self.versions = LogVersions(MODELS, self.log, state)
        self.feedback = FeedbackDesk(self.log, self.journal)

    def stage(self, holder: str = "test") -> ServeStage:
        return ServeStage(ServeOptions(MODELS), self.log, holder, self.versions, self.journal)

    def give(self, ids: Sequence[str], model: ResourceId = RED, size: int = 8) -> None:
        async def keep() -> None:
            for one in ids:
                await self.journal.keep(model, {one: answer("x" * size)})

        asyncio.run(keep())

    def kept(self, namespace: str = "red") -> list[str]:
        return [record.id for record in read_all(self.log, topics.answers(namespace))]

    def close(self) -> None:
        self.journal.close()
        self.log.close()


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[..., Serve]]:
    """Opens a serve role's inner parts; all are closed at the end."""
    open_ones: list[Serve] = []

    def open_one(state: Path = tmp_path, **options: object) -> Serve:
        open_ones.append(Serve(state, **options))  # type: ignore[arg-type]
        return open_ones[-1]

    yield open_one
    for one in open_ones:
        one.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 MiB of its own."""
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m,mode=700", "tmpfs", str(folder)], check=False
    ).returncode:
        pytest.skip("this process may not mount a file system")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def answer(text: str) -> Answer:
    return Answer("desk", "v1", [Message("user", "hello")], text, "stop", 3, 4)


def numbered(count: int, namespace: str = "red") -> list[str]:
    return [f"chatcmpl-{number:032x}.{namespace}" for number in range(count)]


def full() -> None:
    raise DiskFullError("the disk has no room left for the log", next_step="free disk space")


def drained(stage: ServeStage) -> None:
    while stage.step():
        pass


def test_closing_commits_everything_that_was_answered(opened: Callable[..., Serve]) -> None:
    serve = opened()
    stage = serve.stage()
    serve.give(numbered(3_000))
    stage.close()
    assert serve.kept() == numbered(3_000)
    assert serve.journal.waiting == serve.journal.dropped == {}
    assert serve.journal.bytes == 0


def test_answers_go_to_the_topic_of_their_models_namespace(opened: Callable[..., Serve]) -> None:
    serve = opened()
    stage = serve.stage()
    serve.give(numbered(2))
    serve.give(numbered(3, "blue"), BLUE)
    serve.journal.flush()
    assert serve.journal.waiting == {RED: 2, BLUE: 3}
    drained(stage)
    assert (serve.kept("red"), serve.kept("blue")) == (numbered(2), numbered(3, "blue"))


def test_a_log_that_refuses_loses_nothing_and_the_next_stage_commits_what_waited(opened: Callable[..., Serve]) -> None:
    serve = opened()
    stage = serve.stage()
    with armed("log.commit.before", full):
        serve.give(numbered(1_500))
        serve.journal.flush()
        with pytest.raises(DiskFullError):
            stage.step()
        stage.close()
        assert serve.journal.waiting == {RED: 1_500}
    stage = serve.stage()
    drained(stage)
    assert serve.kept() == numbered(1_500)
    assert serve.journal.dropped == {}


def test_a_disk_without_room_keeps_answers_in_memory_and_counts_what_memory_may_not_hold(
    opened: Callable[..., Serve], small_disk: Path
) -> None:
    serve = opened(small_disk, limits=JournalLimits(unwritten=1_500))
    stage = serve.stage()
    serve.give(numbered(10))
    drained(stage)
    fill(small_disk)
    serve.give(numbered(3_010)[10:], size=2_000)
    assert not serve.journal.flush()
    assert "full" in serve.journal.trouble
    dropped = serve.journal.dropped[RED]
    assert 1_000 < dropped <= 1_500  # what SQLite had room for in its own files may have been written
    (small_disk / "filler").unlink()
    wait_until(serve.journal.flush)
    stage.close()
    kept = serve.kept()
    assert len(kept) == len(set(kept)) == 3_010 - dropped
    assert kept == sorted(kept)
    serve.stage().step()
    (status,) = (one for one in read_statuses(serve.log) if one.resource == "StreamFinetuner/red/desk")
    assert status.progress["answersDropped"] == dropped
    assert [(c.type, c.status, c.reason) for c in status.conditions][1] == ("AnswersKept", "False", "Dropped")


def fill(folder: Path) -> None:
    """Takes all the room there is, also what SQLite has reserved for its log."""
    for file in ("log.sqlite", "answers.sqlite"):
        with closing(sqlite3.connect(folder / file)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with (folder / "filler").open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1 << 6, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> bool:
    """Until the writer's thread has tried again."""
    deadline = SYSTEM_CLOCK.monotonic() + seconds
    while not condition():
        assert SYSTEM_CLOCK.monotonic() < deadline
        SYSTEM_CLOCK.sleep(0.01)
    return True


def test_beyond_its_bounds_the_journal_drops_and_counts(opened: Callable[..., Serve]) -> None:
    serve = opened(limits=JournalLimits(answers=50))
    serve.give(numbered(70))
    assert serve.journal.dropped == {RED: 20}
    stage = serve.stage()
    stage.close()
    assert serve.kept() == numbered(50)
    serve.give(["chatcmpl-later.red"])
    stage.close()
    assert serve.kept()[-1] == "chatcmpl-later.red"


def test_the_journal_is_bounded_in_bytes_too(opened: Callable[..., Serve]) -> None:
    serve = opened(limits=JournalLimits(bytes=2_000))
    serve.give(numbered(100))
    kept = serve.journal.waiting[RED]
    assert 0 < kept < 20
    assert serve.journal.dropped == {RED: 100 - kept}
    assert serve.journal.bytes <= 2_000


def test_required_answers_are_on_disk_when_they_are_given(opened: Callable[..., Serve], tmp_path: Path) -> None:
    serve = opened(required=True)
    serve.give(numbered(20))
    assert [one.record.id for one in serve.journal.first()] == numbered(20)
    assert (tmp_path / "answers.sqlite").stat().st_mode & 0o777 == 0o600


def test_a_required_answer_that_cannot_be_kept_is_an_error_with_its_reason(opened: Callable[..., Serve]) -> None:
    serve = opened(required=True, limits=JournalLimits(answers=5))
    serve.give(numbered(5))
    with pytest.raises(UnavailableError, match=r"answers are required: the journal is full: 5 answers"):
        serve.give(["chatcmpl-6.red"])
    assert "the journal is full" in str(serve.journal.refusal())
    serve.stage().close()
    assert serve.journal.refusal() is None
    assert serve.journal.dropped == {RED: 1}
    assert serve.kept() == numbered(5)


def test_a_required_answer_waits_for_a_disk_that_has_room_again(opened: Callable[..., Serve], small_disk: Path) -> None:
    serve = opened(small_disk, required=True)
    fill(small_disk)
    with pytest.raises(UnavailableError, match="full"):
        serve.give(numbered(2_000), size=2_000)
    assert "full" in str(serve.journal.refusal())
    (small_disk / "filler").unlink()
    wait_until(lambda: serve.journal.refusal() is None)
    serve.give(["chatcmpl-later.red"])
    serve.stage().close()
    assert serve.kept()[-1] == "chatcmpl-later.red"


def test_what_a_former_process_had_journalled_is_committed_once(opened: Callable[..., Serve]) -> None:
    first = opened()
    first.give(numbered(100))
    first.close()
    second = opened()
    assert second.journal.waiting == {RED: 100}

    def killed() -> None:
        raise RuntimeError("killed between the commit and the journal's removal")

    stage = second.stage()
    with armed("serve.commit.after", killed), pytest.raises(RuntimeError):
        stage.step()
    assert second.journal.waiting == {RED: 100}
    drained(second.stage())
    assert second.kept() == numbered(100)


def test_a_fenced_stage_leaves_its_answers_to_the_one_that_replaced_it(opened: Callable[..., Serve]) -> None:
    old, new = opened(), opened()
    fenced = old.stage("old")
    successor = new.stage("new")
    old.give(numbered(10))
    old.journal.flush()
    with pytest.raises(FencedError):
        fenced.step()
    fenced.close()
    drained(successor)
    assert new.kept() == numbered(10)


def test_an_answer_that_the_log_never_takes_holds_no_other_back(
    opened: Callable[..., Serve], monkeypatch: pytest.MonkeyPatch
) -> None:
    serve = opened()
    stage, commit = serve.stage(), serve.log.commit

    def picky(one: Commit) -> object:
        if any(record.id == numbered(5)[2] for append in one.appends for record in append.records):
            raise InvalidDeclarationError("the record is too large")
        return commit(one)

    monkeypatch.setattr(serve.log, "commit", picky)
    serve.give(numbered(5))
    serve.journal.flush()
    drained(stage)
    assert serve.kept() == [one for one in numbered(5) if one != numbered(5)[2]]
    assert serve.journal.dropped == {RED: 1}
    assert serve.journal.waiting == {}


def test_a_damaged_journal_is_moved_aside_and_said(
    opened: Callable[..., Serve], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "answers.sqlite").write_bytes(b"no database, " * 1_000)
    serve = opened()
    serve.give(numbered(3))
    serve.stage().close()
    assert serve.kept() == numbered(3)
    assert (tmp_path / "answers.damaged").read_bytes().startswith(b"no database")
    assert "answers.damaged" in capsys.readouterr().err


def test_a_broken_registry_of_one_team_leaves_the_other_served(opened: Callable[..., Serve]) -> None:
    serve = opened()
    serve.log.commit(
        Commit(
            state={registry.registry_key(finetuner_id("desk", "red")): b"{"},
            expect={registry.registry_key(finetuner_id("desk", "red")): 0},
        )
    )
    serve.stage().step()
    assert serve.versions.resolve("blue/desk").model == BLUE
    with pytest.raises(Exception, match="does not parse"):
        serve.versions.resolve("red/desk")
    said = {one.resource: one.conditions[0] for one in read_statuses(serve.log)}
    assert (said[str(RED)].status, said[str(RED)].reason) == ("False", "RegistryUnreadable")
    assert said[str(BLUE)].status == "True"


def test_feedback_finds_answers_wherever_they_are_now(opened: Callable[..., Serve], tmp_path: Path) -> None:
    serve = opened(limits=JournalLimits(remembered=1))
    stage = serve.stage()
    serve.give(numbered(2))
    serve.journal.flush()
    for place in ("the journal's file", "the log"):
        asyncio.run(serve.feedback.give(Feedback(numbered(2)[0], comment=place)))
        drained(stage)
    asyncio.run(serve.feedback.give(Feedback(numbered(2)[1], comment="memory")))
    assert len(read_all(serve.log, topics.feedback("red"))) == 3
    for unknown in ("chatcmpl-0.red", "chatcmpl-0.green", "chatcmpl-0", numbered(2)[0].replace("red", "blue")):
        with pytest.raises(NotFoundError, match="there is no answer"):
            asyncio.run(serve.feedback.give(Feedback(unknown, 1.0)))
    assert read_all(serve.log, topics.feedback("blue")) == []


def test_a_finetuner_has_its_name_before_a_base_model_of_the_same_name(opened: Callable[..., Serve]) -> None:
    serve = opened()
    base = ServedModel(base_model_id("desk", "red"), Path(), base_model_id("desk", "red"))
    versions = LogVersions((base, *MODELS), serve.log, serve.state)
    assert versions.resolve("red/desk").model == RED
    assert versions.resolve("BaseModel/red/desk").model == base.id
    assert sorted(card.name for card in versions.models()) == ["BaseModel/red/desk", "blue/desk", "red/desk"]
