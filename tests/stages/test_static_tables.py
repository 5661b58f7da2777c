"""Static tables: bad rows are dead letters of the stage, an empty table joins as empty."""

from pathlib import Path

import msgspec
import pytest

from headrace.connectors.source import EventTime, SourceContext, SourceOptions
from headrace.events import codec, topics
from headrace.events.dead_letter import DeadLetter
from headrace.events.schema import Column, RowSchema
from headrace.foundation.errors import InvalidDeclarationError
from headrace.log.registry import open_log
from headrace.log.topic_log import TopicLog, TopicSpec
from headrace.stages.stage import read_statuses
from headrace.stages.transform.options import StreamBinding, TableBinding, TransformOptions
from headrace.stages.transform.stage import TransformStage
from headrace.stages.transform.static_table import load_table
from headrace.testing.builders import append, new_record, read_all
from headrace.testing.resource_ids import connector_id, finetuner_id

TRADES = RowSchema((Column("ts", "TIMESTAMP_LTZ(3)"), Column("k", "STRING")))
NAMES = RowSchema((Column("k", "STRING"), Column("n", "INT")))
EVENTS = topics.events(connector_id("trades"))
DEAD = topics.stage_dead(finetuner_id("desk"), "transform")
JOIN = "SELECT t.k, n.n FROM trades AS t LEFT JOIN names AS n ON t.k = n.k"


def table_options(path: Path, schema: RowSchema | None = NAMES) -> SourceOptions:
    return SourceOptions(
        connector_id("names"), "file", {"path": str(path)}, schema, event_time=EventTime(historical=True)
    )


def open_stage(log: TopicLog, path: Path) -> TransformStage:
    log.ensure_topic(TopicSpec(EVENTS))
    source = SourceOptions(connector_id("trades"), "file", {}, TRADES, event_time=EventTime("ts", historical=True))
    streams, tables = (StreamBinding("trades", EVENTS, source),), (TableBinding("names", table_options(path)),)
    return TransformStage(TransformOptions(finetuner_id("desk"), JOIN, streams, tables), log, "test")


def feed(log: TopicLog, *keys: str) -> None:
    values = [msgspec.json.encode({"ts": "2024-01-01T00:00:00.000Z", "k": key}) for key in keys]
    append(log, EVENTS, [new_record(f"trades:{place}", value) for place, value in enumerate(values)])


def rows(log: TopicLog) -> list[dict]:
    return [msgspec.json.decode(one.value) for one in read_all(log, topics.rows(finetuner_id("desk")))]


def letters(log: TopicLog) -> list[DeadLetter]:
    return [codec.decode(one, DeadLetter) for one in read_all(log, DEAD)]


def test_bad_rows_of_a_table_are_dead_letters_once_however_often_the_stage_starts(tmp_path: Path):
    path = tmp_path / "names.jsonl"
    path.write_text('{"k": "a", "n": 1}\n{"k": "b", "n": "many"}\nnot json\n', "utf-8")
    log = open_log(tmp_path / "state")
    stage = open_stage(log, path)
    feed(log, "a", "b")
    assert stage.step()
    assert rows(log) == [{"k": "a", "n": 1}, {"k": "b"}]
    assert [(one.stage, one.code) for one in letters(log)] == [
        ("transform", "wrong_type"),
        ("transform", "malformed_json"),
    ]
    stage.close()
    again = open_stage(log, path)
    again.step()
    assert len(letters(log)) == 2
    (said,) = [one.conditions[0].message for one in read_statuses(log) if one.stage == "transform"]
    assert said == "the table names lacks 2 rows that could not be read; see the dead letters"
    log.close()


def test_other_bad_rows_are_written_and_mended_ones_are_not_written_again(tmp_path: Path):
    path, log = tmp_path / "names.jsonl", open_log(tmp_path / "state")
    for text, count in (("bad\n", 1), ("bad\nworse\n", 3), ('{"k": "a", "n": 1}\n', 3), ("bad\n", 4)):
        path.write_text(text, "utf-8")
        stage = open_stage(log, path)
        stage.step()
        assert len(letters(log)) == count
        stage.close()
    log.close()


def test_an_empty_table_joins_as_empty(tmp_path: Path):
    path = tmp_path / "names.jsonl"
    path.write_text("", "utf-8")
    log = open_log(tmp_path / "state")
    stage = open_stage(log, path)
    feed(log, "a")
    assert stage.step()
    assert rows(log) == [{"k": "a"}]
    assert letters(log) == []
    log.close()


def test_a_table_without_rows_and_without_columns_says_what_to_do(tmp_path: Path):
    path = tmp_path / "names.jsonl"
    path.write_text("", "utf-8")
    with pytest.raises(InvalidDeclarationError, match="Declare its columns"):
        load_table("names", table_options(path, schema=None), SourceContext())


def test_a_table_of_bad_rows_alone_is_empty_where_its_columns_are_declared(tmp_path: Path):
    path = tmp_path / "names.jsonl"
    path.write_text("not json\n", "utf-8")
    found = load_table("names", table_options(path), SourceContext())
    assert (found.table.table.num_rows, len(found.dead)) == (0, 1)
    assert found.table.table.column_names == ["k", "n"]


def test_a_table_that_is_too_long_is_refused(tmp_path: Path):
    path = tmp_path / "names.jsonl"
    path.write_text('{"k": "a", "n": 1}\n' * 5, "utf-8")
    with pytest.raises(InvalidDeclarationError, match="more than 4 rows"):
        load_table("names", table_options(path), SourceContext(), max_rows=4)
