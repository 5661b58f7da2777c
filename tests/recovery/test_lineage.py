"""From a score back to the event, from an event to all that came of it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace.control.lineage import backwards, citing, describe, find, forwards, trace
from headrace.events import codec, topics
from headrace.events.answer import Answer
from headrace.events.example import Example
from headrace.events.message import Message, Passage
from headrace.foundation.errors import NotFoundError
from headrace.log.registry import open_log
from headrace.log.topic_log import Append, Commit, TopicLog, TopicSpec
from headrace.testing.builders import new_record, read_all
from headrace.testing.resource_ids import finetuner_id

pytestmark = pytest.mark.slow  # together


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
    steps = back(chain, topics.scores(finetuner_id("desk")), 5)
    assert [step["topic"].removeprefix("default.") for step in steps] == [
        "desk.scores", "desk.examples", "desk.prompts", "desk.rows", "questions.events",
    ]  # fmt: skip
    event = steps[-1]
    assert steps[0]["value"]["row_id"] == event["id"]
    assert event["origin"]["source"] == "questions:questions.jsonl"


def test_a_chained_score_goes_back_through_both_finetuners(chain: TopicLog):
    steps = back(chain, topics.scores(finetuner_id("second")), 9)
    assert [step["topic"].removeprefix("default.") for step in steps] == [
        "second.scores", "second.examples", "second.prompts", "second.rows",
        "desk.examples", "desk.prompts", "desk.rows", "questions.events",
    ]  # fmt: skip
    assert steps[1]["value"]["root_id"] == steps[-1]["id"]


def test_an_event_goes_forward_to_everything_that_was_made_of_it(chain: TopicLog):
    event = back(chain, topics.scores(finetuner_id("second")), 9)[-1]["id"]
    became = [step["topic"].removeprefix("default.") for step in forwards(chain, event)]
    assert became == [
        "desk.rows", "desk.prompts", "desk.examples", "desk.scores",
        "second.rows", "second.prompts", "second.examples", "second.scores",
    ]  # fmt: skip


def test_a_window_goes_back_to_the_rows_in_it(windows: TopicLog):
    steps = back(windows, topics.scores(finetuner_id("bars")), 12)
    row = next(step for step in steps if step["topic"] == "default.bars.rows")
    trades = [step for step in steps if step["topic"] == "default.trades.events"]
    assert len(trades) == row["value"]["trades"]
    assert {trade["value"]["symbol"] for trade in trades} == {row["value"]["symbol"]}
    assert sum(trade["value"]["amount"] for trade in trades) == row["value"]["volume"]


def test_a_trade_goes_forward_to_the_bar_that_it_is_in(windows: TopicLog):
    trade = next(
        step
        for step in back(windows, topics.scores(finetuner_id("bars")), 12)
        if step["topic"] == "default.trades.events"
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
    assert steps[1]["learnedFrom"]["topic"] == topics.examples(finetuner_id("desk"))
    assert steps[1]["learnedFrom"]["offsets"][1] > 0


def test_an_id_that_nobody_has_is_not_found(chain: TopicLog):
    with pytest.raises(NotFoundError, match="no topic holds a record with the id 'nothing'"):
        find(chain, "nothing")


@pytest.fixture
def log(tmp_path: Path) -> Iterator[TopicLog]:
    opened = open_log(tmp_path)
    opened.ensure_topic(TopicSpec("prompts"))
    prompts = [new_record(f"p{number}", json.dumps({"n": number}).encode(), event_time=number) for number in range(3)]
    opened.commit(Commit([Append("prompts", prompts)]))
    yield opened
    opened.close()


def passage(document: str, version: str, chunk: int = 0) -> Passage:
    return Passage(document, version, chunk, "text", 1.0)


def cited(log: TopicLog, name: str, passages: list[Passage], *, topic: str = "default.desk.examples") -> None:
    """An example, or where the topic is of answers an answer, made from the passages; each is newer than the one before."""
    log.ensure_topic(TopicSpec(topic))
    made: Answer | Example = Answer("desk", "v1", [], "a", "stop", 1, 1, passages=passages)
    if topic.endswith("examples"):
        made = Example(name, name, 0, 1, [Message("user", "{knowledge}")], "a", "t", passages=passages)
    place = sum(info.end_offset for info in log.topics())
    record = new_record(name, codec.encode(made), kind=codec.kind_of(made), ingested_at=1_000 + place)
    log.commit(Commit([Append(topic, [record])]))


def names(steps: list[dict[str, Any]]) -> list[str]:
    return [step["id"] for step in steps]


def test_an_example_names_the_passages_that_it_was_made_from(log: TopicLog):
    cited(log, "e", [passage("fees.md", "3", 2), passage("cards.md", "1")])
    [(topic, record)] = find(log, "e")
    assert describe(topic, record)["passages"] == [
        {"document": "fees.md", "version": "3", "chunk": 2}, {"document": "cards.md", "version": "1", "chunk": 0},
    ]  # fmt: skip
    came_from, became = trace(log, "e")
    assert came_from[0]["passages"][0]["document"] == "fees.md"
    assert became == []


def test_a_document_leads_to_what_cites_it_newest_first(log: TopicLog):
    cited(log, "e1", [passage("fees.md", "1")])
    cited(log, "e2", [passage("cards.md", "1"), passage("fees.md", "2")])
    cited(log, "a1", [passage("fees.md", "2", 4)], topic="default.answers")
    cited(log, "e3", [])
    cited(log, "e4", [passage("fees.md", "1")])
    assert names(trace(log, "fees.md")[1]) == ["e4", "a1", "e2", "e1"]
    assert names(citing(log, "fees.md@2")) == ["a1", "e2"]
    assert names(citing(log, "fees.md", limit=2)) == ["e4", "a1"]
    assert citing(log, "fees") == citing(log, "fees.md@3") == []
    with pytest.raises(NotFoundError, match=r"no topic holds a record with the id 'fees.md@3'"):
        trace(log, "fees.md@3")


def test_names_with_an_at_sign_are_documents_too(log: TopicLog):
    cited(log, "e1", [passage("team@desk", "1")])
    cited(log, "e2", [passage("team", "desk@1")])
    assert names(citing(log, "team@desk")) == ["e1"]
    assert names(citing(log, "team@desk@1")) == ["e2", "e1"], "both read so: both are shown"


def test_a_document_is_found_in_a_topic_longer_than_one_look(log: TopicLog):
    cited(log, "old", [passage("fees.md", "1")])
    filler = Example("r", "r", 0, 1, [], "a", "t")
    records = [new_record(f"f{n}", codec.encode(filler), kind=codec.kind_of(filler)) for n in range(2_500)]
    log.commit(Commit([Append("default.desk.examples", records)]))
    cited(log, "new", [passage("fees.md", "1")])
    assert names(citing(log, "fees.md")) == ["new", "old"]
