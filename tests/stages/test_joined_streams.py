"""A join of two topics: the same rows, in the same order, whenever the stage looked at which topic."""

from pathlib import Path

import msgspec
import pytest

from headrace.connectors.source import EventTime, SourceOptions
from headrace.events import codec, topics
from headrace.events.control import Control
from headrace.events.schema import Column, RowSchema
from headrace.log.record import NewRecord
from headrace.log.registry import open_log
from headrace.log.topic_log import TopicLog, TopicSpec
from headrace.stages.transform.options import StreamBinding, TransformOptions
from headrace.stages.transform.row_source import control_record
from headrace.stages.transform.stage import TransformStage
from headrace.testing.builders import append, new_record, read_all
from headrace.testing.resource_ids import connector_id, finetuner_id

SCHEMA = RowSchema((Column("ts", "TIMESTAMP_LTZ(3)"), Column("k", "STRING"), Column("v", "BIGINT")))
JOIN = "SELECT l.v AS v, r.v AS w FROM l LEFT JOIN r FOR SYSTEM_TIME AS OF l.ts AS r ON l.k = r.k"
NAMES = ("l", "r")
L, R = (topics.events(connector_id(name)) for name in NAMES)


def row(topic: str, second: int, value: int, arrived: int) -> NewRecord:
    payload = msgspec.json.encode({"ts": f"1970-01-01T00:00:{second:02}.000Z", "k": "a", "v": value})
    return new_record(f"{topic}:{value}", payload, event_time=second * 1_000, ingested_at=arrived)


def sign(kind, topic: str, arrived: int) -> NewRecord:
    record = control_record(f"{kind}:{topic}:{arrived}", Control(kind, topic), 0)
    return msgspec.structs.replace(record, ingested_at=arrived)


STORY = [
    (L, row(L, 10, 1, 100)), (R, row(R, 5, 50, 101)), (R, sign("idle", R, 110)), (L, row(L, 20, 2, 120)),
    (L, row(L, 15, 3, 130)), (R, row(R, 12, 51, 140)), (L, row(L, 25, 4, 150)), (L, sign("idle", L, 160)),
    (R, row(R, 26, 52, 170)), (L, row(L, 30, 5, 180)), (R, sign("idle", R, 190)), (L, row(L, 28, 6, 200)),
    (L, sign("end", L, 210)), (R, sign("end", R, 220)),
]  # fmt: skip
ROWS = [(1, 50), (3, 50), (2, 50), (4, 51), (6, 52), (5, 52)]


def open_stage(log: TopicLog) -> TransformStage:
    for topic in (L, R):
        log.ensure_topic(TopicSpec(topic))
    time = EventTime("ts", 10_000, historical=True)
    sources = [SourceOptions(connector_id(name), "file", {}, schema=SCHEMA, event_time=time) for name in NAMES]
    streams = tuple(StreamBinding(one.id.name, topic, one) for one, topic in zip(sources, (L, R), strict=True))
    return TransformStage(TransformOptions(finetuner_id("desk"), JOIN, streams), log, "test")


def outcome(log: TopicLog) -> tuple[list, list[str], int]:
    """Rows, what follows them, and how many are late."""
    found = read_all(log, topics.rows(finetuner_id("desk")))
    rows = [msgspec.json.decode(one.value) for one in found if one.kind == codec.ROW]
    signs = [codec.decode(one, Control).sign for one in found[len(rows) :]]
    return [(one["v"], one.get("w")) for one in rows], signs, len(read_all(log, topics.late(finetuner_id("desk"))))


def settle(stage: TransformStage) -> None:
    while stage.step():
        pass


@pytest.mark.parametrize("every", range(1, len(STORY) + 1))
@pytest.mark.parametrize("restarted", [False, True])
def test_when_the_stage_looks_changes_neither_rows_nor_late_rows(tmp_path: Path, every: int, restarted: bool):
    log = open_log(tmp_path)
    stage = open_stage(log)
    for place, (topic, record) in enumerate(STORY, start=1):
        append(log, topic, [record])
        if place % every == 0:
            settle(stage)
            if restarted:
                stage.close()
                stage = open_stage(log)
    settle(stage)
    assert outcome(log) == (ROWS, ["end"], 0)
    log.close()


def test_rows_come_out_while_the_other_side_is_idle(tmp_path: Path):
    log = open_log(tmp_path)
    stage = open_stage(log)
    append(log, R, [row(R, 5, 50, 100), sign("idle", R, 110)])
    append(log, L, [row(L, 10, 1, 120), row(L, 30, 2, 130)])
    settle(stage)
    assert outcome(log) == ([(1, 50)], [], 0)
    log.close()
