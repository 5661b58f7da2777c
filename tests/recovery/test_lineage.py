"""From a score back to the event, from an event to all that came of it; dead letters sent again, each once."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace.control.lineage import backwards, find, forwards
from headrace.control.replay import ReplayReport, replay_dead_letters
from headrace.events import codec, topics
from headrace.events.answer import Answer
from headrace.events.dead_letter import DeadLetter
from headrace.foundation.errors import InvalidDeclarationError, NotFoundError
from headrace.log.registry import open_log
from headrace.log.topic_log import Append, Commit, TopicLog, TopicSpec
from headrace.stages.ingest import dead_record
from headrace.testing.builders import new_record, read_all


@pytest.fixture
def chain(scenario: Callable[[str], Any]) -> Iterator[TopicLog]:
    yield from undisturbed(scenario("chain"))


@pytest.fixture
def windows(scenario: Callable[[str], Any]) -> Iterator[TopicLog]:
    yield from undisturbed(scenario("windows"))


def undisturbed(known: Any) -> Iterator[TopicLog]:
    log = open_log(known.folder.parent / "undisturbed" / "state")
    yield log
    log.close()


def back(log: TopicLog, topic: str, place: int = 0) -> list[dict[str, Any]]:
    records = [record for record in read_all(log, topic) if record.kind != codec.CONTROL]
    return list(backwards(log, topic, records[place]))


def test_a_score_goes_back_to_its_event(chain: TopicLog):
    steps = back(chain, topics.scores("default", "desk"), 5)
    assert [step["topic"].removeprefix("default.") for step in steps] == [
        "desk.scores", "desk.examples", "desk.prompts", "desk.rows", "questions.events",
    ]  # fmt: skip
    event = steps[-1]
    assert steps[0]["value"]["row_id"] == event["id"]
    assert event["origin"]["source"] == "questions:questions.jsonl"


def test_a_chained_score_goes_back_through_both_finetuners(chain: TopicLog):
    steps = back(chain, topics.scores("default", "second"), 9)
    assert [step["topic"].removeprefix("default.") for step in steps] == [
        "second.scores", "second.examples", "second.prompts", "second.rows",
        "desk.examples", "desk.prompts", "desk.rows", "questions.events",
    ]  # fmt: skip
    assert steps[1]["value"]["root_id"] == steps[-1]["id"]


def test_an_event_goes_forward_to_everything_that_was_made_of_it(chain: TopicLog):
    event = back(chain, topics.scores("default", "second"), 9)[-1]["id"]
    became = [step["topic"].removeprefix("default.") for step in forwards(chain, event)]
    assert became == [
        "desk.rows", "desk.prompts", "desk.examples", "desk.scores",
        "second.rows", "second.prompts", "second.examples", "second.scores",
    ]  # fmt: skip


def test_a_window_goes_back_to_the_rows_in_it(windows: TopicLog):
    steps = back(windows, topics.scores("default", "bars"), 12)
    row = next(step for step in steps if step["topic"] == "default.bars.rows")
    trades = [step for step in steps if step["topic"] == "default.trades.events"]
    assert len(trades) == row["value"]["trades"]
    assert {trade["value"]["symbol"] for trade in trades} == {row["value"]["symbol"]}
    assert sum(trade["value"]["amount"] for trade in trades) == row["value"]["volume"]


def test_a_trade_goes_forward_to_the_bar_that_it_is_in(windows: TopicLog):
    trade = next(
        step for step in back(windows, topics.scores("default", "bars"), 12) if step["topic"] == "default.trades.events"
    )
    became = list(forwards(windows, trade["id"]))
    assert [step["topic"] for step in became] == [
        "default.bars.rows", *["default.bars.prompts"] * 2, *["default.bars.examples"] * 2, *["default.bars.scores"] * 2,
    ]  # fmt: skip
    assert became[0]["value"]["symbol"] == trade["value"]["symbol"]


def test_an_answer_goes_back_to_the_version_and_what_it_had_learned(tmp_path: Path, scenario: Callable[[str], Any]):
    known = scenario("chain")
    found = known.copy(tmp_path / "job")
    with known.pipeline(found, tmp_path / "job") as pipeline:
        pipeline.run()
        log = pipeline.log
        log.ensure_topic(TopicSpec(topics.answers("default")))
        answer = Answer("desk", "v1", [], "cards", "stop", 3, 1)
        log.commit(
            Commit(
                [
                    Append(
                        topics.answers("default"), [new_record("a1", codec.encode(answer), kind=codec.kind_of(answer))]
                    )
                ]
            )
        )
        [(topic, record)] = find(log, "a1")
        steps = list(backwards(log, topic, record))
    assert steps[1]["id"] == "desk@v1"
    assert steps[1]["learnedFrom"]["topic"] == topics.examples("default", "desk")
    assert steps[1]["learnedFrom"]["offsets"][1] > 0


def test_an_id_that_nobody_has_is_not_found(chain: TopicLog):
    with pytest.raises(NotFoundError, match="no topic holds a record with the id 'nothing'"):
        find(chain, "nothing")


def letter(log: TopicLog, *, replayable: bool, offset: int) -> None:
    dead = DeadLetter("label", "unusable_answer", "empty", f"p{offset}", "{}", "prompts", offset, replayable=replayable)
    log.commit(Commit([Append("prompts.dead", [dead_record(f"d{offset}", dead, 5)])]))


@pytest.fixture
def log(tmp_path: Path) -> Iterator[TopicLog]:
    opened = open_log(tmp_path)
    opened.ensure_topic(TopicSpec("prompts"))
    opened.ensure_topic(TopicSpec("prompts.dead"))
    prompts = [new_record(f"p{number}", json.dumps({"n": number}).encode(), event_time=number) for number in range(3)]
    opened.commit(Commit([Append("prompts", prompts)]))
    yield opened
    opened.close()


def test_a_dead_letter_is_sent_again_once(log: TopicLog):
    letter(log, replayable=True, offset=1)
    letter(log, replayable=False, offset=2)
    assert replay_dead_letters(log, "prompts.dead") == ReplayReport(1, 1, ("prompts",))
    assert replay_dead_letters(log, "prompts.dead") == ReplayReport(0, 0, ())
    again = read_all(log, "prompts")[3]
    assert (again.value, again.event_time) == (b'{"n": 1}', 1)
    assert again.id != "p1"
    letter(log, replayable=True, offset=0)
    assert replay_dead_letters(log, "prompts.dead").sent == 1
    assert len(read_all(log, "prompts")) == 5


def test_all_letters_are_sent_again_when_a_person_says_so(log: TopicLog):
    letter(log, replayable=False, offset=2)
    assert replay_dead_letters(log, "prompts.dead", everything=True).sent == 1


def test_a_topic_without_dead_letters_cannot_be_replayed(log: TopicLog):
    with pytest.raises(InvalidDeclarationError, match="prompts is not a dead-letter topic"):
        replay_dead_letters(log, "prompts")
