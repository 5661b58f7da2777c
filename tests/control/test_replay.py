"""Dead letters sent again: each once, however many replays there are, and none that was not sent is forgotten."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.control.replay import ReplayReport, replay_dead_letters
from headrace.events.dead_letter import DeadLetter
from headrace.events.dead_records import dead_record
from headrace.foundation.errors import InvalidDeclarationError
from headrace.log.registry import open_log
from headrace.log.topic_log import Append, Commit, CommitResult, GroupOffset, TopicLog, TopicSpec
from headrace.testing.builders import new_record, read_all

LATER_MS = 10**15


@pytest.fixture
def log(tmp_path: Path) -> Iterator[TopicLog]:
    opened = open_log(tmp_path)
    opened.ensure_topic(TopicSpec("prompts"))
    opened.ensure_topic(TopicSpec("prompts.dead"))
    prompts = [new_record(f"p{number}", json.dumps({"n": number}).encode(), event_time=number) for number in range(3)]
    opened.commit(Commit([Append("prompts", prompts)]))
    yield opened
    opened.close()


def letter(log: TopicLog, *, offset: int, replayable: bool = True, topic: str = "prompts") -> None:
    dead = DeadLetter("label", "unusable_answer", "empty", f"p{offset}", "{}", topic, offset, replayable=replayable)
    log.commit(Commit([Append("prompts.dead", [dead_record(f"d{offset}", dead, 5)])]))


def sent(log: TopicLog) -> list[int]:
    """Which prompts were sent again."""
    return [json.loads(record.value)["n"] for record in read_all(log, "prompts")[3:]]


def test_a_letter_is_sent_again_once(log: TopicLog):
    letter(log, offset=1)
    assert replay_dead_letters(log, "prompts.dead") == ReplayReport(sent=1, targets=("prompts",))
    assert replay_dead_letters(log, "prompts.dead") == ReplayReport()
    again = read_all(log, "prompts")[3]
    assert (again.value, again.event_time) == (b'{"n": 1}', 1)
    assert again.id != "p1"
    letter(log, offset=0)
    assert replay_dead_letters(log, "prompts.dead").sent == 1
    assert sent(log) == [1, 0]


def test_letters_that_were_not_sent_are_found_by_a_later_replay(log: TopicLog):
    letter(log, offset=2, replayable=False)
    letter(log, offset=1)
    letter(log, offset=-1)
    letter(log, offset=7)
    assert replay_dead_letters(log, "prompts.dead") == ReplayReport(1, not_asked=1, lost=2, targets=("prompts",))
    assert replay_dead_letters(log, "prompts.dead") == ReplayReport(0, not_asked=1, lost=2)
    assert replay_dead_letters(log, "prompts.dead", everything=True) == ReplayReport(1, lost=2, targets=("prompts",))
    assert replay_dead_letters(log, "prompts.dead", everything=True) == ReplayReport(lost=2)
    assert sent(log) == [1, 2]


def test_of_two_replays_at_once_one_sends_each_letter(log: TopicLog, monkeypatch: pytest.MonkeyPatch):
    for offset in range(3):
        letter(log, offset=offset, replayable=offset != 1)
    commit, reports = log.commit, list[ReplayReport]()

    def overtaken(one: Commit) -> CommitResult:
        monkeypatch.setattr(log, "commit", commit)
        reports.append(replay_dead_letters(log, "prompts.dead"))
        return log.commit(one)

    monkeypatch.setattr(log, "commit", overtaken)
    reports.append(replay_dead_letters(log, "prompts.dead", everything=True))
    assert [report.sent for report in reports] == [2, 1]
    assert sent(log) == [0, 2, 1]


def test_many_replays_at_once_send_each_letter_once(log: TopicLog, tmp_path: Path):
    for offset in range(3):
        letter(log, offset=offset)
    start = threading.Barrier(4)

    def replay() -> None:
        own = open_log(tmp_path)
        start.wait()
        replay_dead_letters(own, "prompts.dead")
        own.close()

    threads = [threading.Thread(target=replay) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sent(log) == [0, 1, 2]


def test_a_replay_holds_no_topic_back(log: TopicLog):
    for topic in ("prompts", "prompts.dead"):
        log.ensure_topic(TopicSpec(topic, retention_ms=1))
    letter(log, offset=0)
    replay_dead_letters(log, "prompts.dead")
    letter(log, offset=1, replayable=False)
    assert log.groups("prompts") == log.groups("prompts.dead") == []
    log.trim(LATER_MS)
    assert [log.topic(name).start_offset for name in ("prompts", "prompts.dead")] == [4, 2]
    assert replay_dead_letters(log, "prompts.dead", everything=True) == ReplayReport()


def test_what_retention_took_is_no_longer_remembered_as_sent(log: TopicLog):
    log.ensure_topic(TopicSpec("prompts.dead", retention_ms=1))
    for offset in (0, 1):
        letter(log, offset=offset)
    replay_dead_letters(log, "prompts.dead")
    log.trim(LATER_MS)
    letter(log, offset=2, replayable=False)
    letter(log, offset=2)
    replay_dead_letters(log, "prompts.dead")
    [entry] = log.state("replay").values()
    assert b"\x92\x03\x04" in entry.value
    assert b"\x92\x00" not in entry.value


def test_the_group_of_an_older_version_is_taken_over_and_ended(log: TopicLog):
    for offset in range(3):
        letter(log, offset=offset, replayable=offset != 1)
    log.commit(Commit(offsets=[GroupOffset("replay", "prompts.dead", 2)]))
    assert replay_dead_letters(log, "prompts.dead") == ReplayReport(1, not_asked=1, targets=("prompts",))
    assert log.groups("prompts.dead") == []
    assert replay_dead_letters(log, "prompts.dead", everything=True).sent == 1
    assert sent(log) == [2, 1]


def test_a_topic_without_dead_letters_cannot_be_replayed(log: TopicLog):
    with pytest.raises(InvalidDeclarationError, match="prompts is not a dead-letter topic"):
        replay_dead_letters(log, "prompts")
