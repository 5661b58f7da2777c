"""Prompts that wait for a teacher when the finetuner's declaration drops it: rows answer them, or they leave the line with the reason."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.events import codec, topics
from headrace.events.dead_letter import DeadLetter
from headrace.events.example import Example
from headrace.events.message import Message
from headrace.events.origin import Origin, encode_origin
from headrace.events.prompt import Prompt
from headrace.log.record import NewRecord
from headrace.log.registry import open_log
from headrace.log.topic_log import TopicLog, TopicSpec
from headrace.stages.label.options import LabelOptions
from headrace.stages.label.stage import LabelStage
from headrace.teachers.teacher import TeacherOptions
from headrace.testing.builders import append, new_record, read_all
from headrace.testing.clock import VirtualClock
from headrace.testing.provider_servers import OpenAIProtocol, ProviderServer
from headrace.testing.resource_ids import finetuner_id

DESK = finetuner_id("desk")
ROWS, PROMPTS = topics.rows(DESK), topics.prompts(DESK)
EXAMPLES, DEAD = topics.examples(DESK), topics.stage_dead(DESK, "label")


@pytest.fixture
def log(tmp_path: Path) -> Iterator[TopicLog]:
    opened = open_log(tmp_path)
    for topic in (ROWS, PROMPTS):
        opened.ensure_topic(TopicSpec(topic))
    yield opened
    opened.close()


def waiting(log: TopicLog, *rows: bytes) -> None:
    """Rows, and prompts that were made of them for a teacher."""
    start = len(read_all(log, ROWS))
    for number, row in enumerate(rows, start):
        offset = append(log, ROWS, [new_record(f"r{number}", row)])
        prompt = Prompt(f"r{number}", f"r{number}", 0, 1, [Message("user", "Which team?")])
        origin = encode_origin(Origin(topic=ROWS, offset=offset, id=f"r{number}"))
        append(
            log, PROMPTS, [NewRecord(f"p{number}", codec.kind_of(prompt), codec.encode(prompt), 1_000, origin=origin)]
        )


def label(log: TopicLog, state: Path, column: str | None, teacher: TeacherOptions | None = None) -> None:
    options = LabelOptions(DESK, teacher, ground_truth=column)
    stage = LabelStage(options, log, "test", state, VirtualClock())
    while stage.step():
        pass
    stage.close()


def examples(log: TopicLog) -> list[tuple[str, str]]:
    """Answers, and who gave them."""
    found = [codec.decode(one, Example) for one in read_all(log, EXAMPLES)]
    return [(one.answer, one.teacher) for one in found]


def letters(log: TopicLog) -> list[DeadLetter]:
    return [codec.decode(one, DeadLetter) for one in read_all(log, DEAD)]


def test_the_ground_truth_of_their_rows_answers_them_in_order(log: TopicLog, tmp_path: Path) -> None:
    waiting(log, b'{"team":"cards"}', b'{"team":"till"}')
    label(log, tmp_path, "team")
    assert examples(log) == [("cards", "column:team"), ("till", "column:team")]
    assert letters(log) == []


def test_a_row_without_an_answer_leaves_the_line_and_the_others_are_answered(log: TopicLog, tmp_path: Path) -> None:
    waiting(log, b'{"other":1}', b'{"team":"till"}')
    label(log, tmp_path, "team")
    assert examples(log) == [("till", "column:team")]
    [letter] = letters(log)
    assert (letter.code, letter.replayable) == ("no_teacher", True)
    assert "the column team of the row is empty" in letter.reason


def test_where_no_column_is_declared_either_they_leave_the_line_with_the_reason(log: TopicLog, tmp_path: Path) -> None:
    waiting(log, b'{"team":"cards"}')
    label(log, tmp_path, None)
    assert examples(log) == []
    assert "no groundTruth" in letters(log)[0].reason


def test_a_row_that_retention_has_taken_is_named_as_the_reason(log: TopicLog, tmp_path: Path) -> None:
    prompt = Prompt("gone", "gone", 0, 1, [Message("user", "Which team?")])
    append(log, ROWS, [new_record("another", b'{"team":"till"}')])
    origin = encode_origin(Origin(topic=ROWS, offset=0, id="gone"))
    append(log, PROMPTS, [NewRecord("p", codec.kind_of(prompt), codec.encode(prompt), 1_000, origin=origin)])
    label(log, tmp_path, "team")
    assert examples(log) == []
    assert "the row of the prompt is no longer kept" in letters(log)[0].reason


def test_a_prompt_that_a_replay_sends_again_is_asked_once_a_teacher_is_declared(log: TopicLog, tmp_path: Path) -> None:
    from headrace.control.replay import replay_dead_letters

    waiting(log, b"{}")
    label(log, tmp_path, "team")
    assert replay_dead_letters(log, DEAD).sent == 1
    with ProviderServer(OpenAIProtocol()) as server:
        template = {"apikey": server.key, "model": server.protocol.model, "endpoint": server.endpoint}
        label(log, tmp_path, None, TeacherOptions("lead", "OpenAI", template))
    assert [one[0] for one in examples(log)] == ["an answer"]
