"""Rows become prompts become examples: in order, each once, with dead letters in the places of what cannot be answered."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.events import codec, topics
from headrace.events.control import Control
from headrace.events.dead_letter import DeadLetter
from headrace.events.example import Example
from headrace.events.prompt import Prompt
from headrace.foundation.ids import fraction
from headrace.log.record import NewRecord
from headrace.log.registry import open_log
from headrace.log.topic_log import Append, Commit, TopicLog, TopicSpec
from headrace.stages.label.options import LabelOptions
from headrace.stages.label.stage import LabelStage
from headrace.stages.prompt.options import PromptOptions, PromptTemplate
from headrace.stages.prompt.stage import PromptStage, fill
from headrace.teachers.teacher import TeacherOptions
from headrace.testing.resource_ids import finetuner_id

SUPPORT = Path(__file__).resolve().parents[2] / "examples" / "support"
ROWS = topics.rows(finetuner_id("desk"))


@pytest.fixture
def log(tmp_path: Path) -> Iterator[TopicLog]:
    opened = open_log(tmp_path)
    opened.ensure_topic(TopicSpec(ROWS))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def teacher_url() -> Iterator[str]:
    process = subprocess.Popen(
        [
            sys.executable,
            str(SUPPORT / "teacher_server.py"),
            "--port",
            "0",
            "--print-port",
            "--policy",
            str(SUPPORT / "routing.md"),
        ],
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    port = process.stdout.readline().decode().strip().rpartition(":")[2]
    yield f"http://127.0.0.1:{int(port)}/v1"
    process.terminate()
    process.stdout.close()
    process.wait()


def row(number: int, **values: object) -> NewRecord:
    return NewRecord(f"questions:{number}", codec.ROW, json.dumps(values).encode(), 1_000 + number)


def put(log: TopicLog, *records: NewRecord) -> None:
    log.commit(Commit([Append(ROWS, list(records))]))


def end() -> NewRecord:
    return NewRecord("end", codec.CONTROL, codec.encode(Control("end", "desk")), 0)


def drain(stage: PromptStage | LabelStage) -> None:
    while stage.step():
        pass


def test_a_column_fills_its_place_and_knowledge_stays_for_the_renderer():
    assert fill("{text}? {knowledge} {missing}{{x}", {"text": "Where", "x": 3}) == "Where? {knowledge} {3"


def test_each_row_becomes_one_prompt_per_template_and_the_end_follows_them(log: TopicLog):
    put(log, row(1, text="a"), row(2, text="b"), end())
    templates = (PromptTemplate("{text}", "You are kind."), PromptTemplate("Is {text} urgent?"))
    drain(PromptStage(PromptOptions(finetuner_id("desk"), templates), log, "me"))
    records = log.read(topics.prompts(finetuner_id("desk")), 0)
    prompts = [codec.decode(record, Prompt) for record in records[:-1]]
    assert [(p.row_id, p.index, p.count) for p in prompts] == [(f"questions:{n}", i, 2) for n in (1, 2) for i in (0, 1)]
    assert [m.content for m in prompts[0].messages] == ["You are kind.", "a"]
    assert [m.role for m in prompts[1].messages] == ["user"]
    assert records[-1].kind == codec.CONTROL


def test_the_sample_is_the_same_at_every_replay(log: TopicLog):
    put(log, *(row(number, text=str(number)) for number in range(200)))
    drain(PromptStage(PromptOptions(finetuner_id("desk"), (PromptTemplate("{text}"),), sample_ratio=0.3), log, "me"))
    chosen = [codec.decode(record, Prompt).row_id for record in log.read(topics.prompts(finetuner_id("desk")), 0)]
    assert chosen == [f"questions:{n}" for n in range(200) if fraction(f"questions:{n}", "sample") < 0.3]
    assert 30 < len(chosen) < 90


def test_a_row_without_its_ground_truth_is_a_dead_letter(log: TopicLog):
    put(log, row(1, text="a", category="x"), row(2, text="b"))
    options = PromptOptions(finetuner_id("desk"), (PromptTemplate("{text}"),), ground_truth_column="category")
    drain(PromptStage(options, log, "me"))
    assert len(log.read(topics.prompts(finetuner_id("desk")), 0)) == 1
    letters = [codec.decode(r, DeadLetter) for r in log.read(topics.stage_dead(finetuner_id("desk"), "prompt"), 0)]
    assert [(letter.code, letter.origin_id) for letter in letters] == [("no_ground_truth", "questions:2")]


def test_a_prompt_stage_that_was_replaced_cannot_write(log: TopicLog):
    from headrace.foundation.errors import FencedError

    options = PromptOptions(finetuner_id("desk"), (PromptTemplate("{text}"),))
    old = PromptStage(options, log, "old")
    PromptStage(options, log, "new")
    put(log, row(1, text="a"))
    with pytest.raises(FencedError):
        old.step()
    assert log.read(topics.prompts(finetuner_id("desk")), 0) == []


def label(log: TopicLog, state: Path, url: str, **options: object) -> LabelStage:
    teacher = TeacherOptions("desk-lead", "OpenAI", {"apikey": "k", "model": "desk-lead", "endpoint": url})
    return LabelStage(LabelOptions(finetuner_id("desk"), teacher, **options), log, "me", state)  # type: ignore[arg-type]


def prompted(log: TopicLog, *records: NewRecord) -> None:
    put(log, *records)
    drain(PromptStage(PromptOptions(finetuner_id("desk"), (PromptTemplate("{text}"),)), log, "me"))


def run_until(stage: LabelStage, log: TopicLog, length: int) -> list[Example]:
    for _ in range(2_000):
        stage.step()
        records = log.read(topics.examples(finetuner_id("desk")), 0)
        if len(records) >= length:
            return [codec.decode(record, Example) for record in records if record.kind != codec.CONTROL]
    raise AssertionError(f"no {length} examples came")


def test_answers_are_committed_in_the_order_of_the_prompts(log: TopicLog, tmp_path: Path, teacher_url: str):
    questions = [
        "It looks like I was charged twice for a single transaction",
        "activate my card",
        "why the fee on a transfer",
    ]
    prompted(log, *(row(n, text=questions[n % 3] + "." * (n // 3)) for n in range(60)), end())
    stage = label(log, tmp_path, teacher_url)
    examples = run_until(stage, log, 61)
    stage.close()
    assert [e.row_id for e in examples] == [f"questions:{n}" for n in range(60)]
    assert examples[0].answer == "transaction_charged_twice | disputes"
    assert examples[0].teacher == "desk-lead/desk-lead"
    assert examples[0].price.input_tokens > 0
    assert log.read(topics.examples(finetuner_id("desk")), 60)[0].kind == codec.CONTROL
    assert log.offset(stage.name, topics.prompts(finetuner_id("desk"))) == 61


def test_a_teacher_that_is_away_makes_the_rows_wait_and_says_so(log: TopicLog, tmp_path: Path):
    from headrace.stages.stage import read_statuses

    prompted(log, row(1, text="a"))
    stage = label(log, tmp_path, "http://127.0.0.1:9/v1", unavailable_timeout_ms=0, retry_seconds=0.0)
    for _ in range(200):
        stage.step()
        conditions = [c for status in read_statuses(log) for c in status.conditions if c.type == "TeacherAvailable"]
        if conditions:
            break
    stage.close()
    assert [(c.status, c.reason) for c in conditions] == [("False", "UnavailableTimeout")]
    assert log.read(topics.examples(finetuner_id("desk")), 0) == []
    assert log.read(topics.stage_dead(finetuner_id("desk"), "label"), 0) == []
