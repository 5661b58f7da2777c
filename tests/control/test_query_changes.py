"""What `headrace plan` says of a running query that is declared again."""

from dataclasses import replace
from pathlib import Path

import pytest

from headrace.connectors.source import EventTime, SourceOptions
from headrace.control.query_changes import query_changes
from headrace.events import topics
from headrace.events.schema import Column, RowSchema
from headrace.foundation.resource_id import ResourceId
from headrace.log.registry import open_log
from headrace.log.topic_log import TopicLog
from headrace.stages.topology import Topology
from headrace.stages.transform.options import StreamBinding, TransformOptions
from headrace.stages.transform.spec import transform_spec
from headrace.stages.transform.stage import TransformStage
from headrace.testing.builders import append, new_record
from headrace.testing.resource_ids import connector_id, finetuner_id

EVENTS = topics.events(connector_id("trades"))
SOURCE = SourceOptions(
    connector_id("trades"), "file",
    schema=RowSchema((Column("event_time", "TIMESTAMP_LTZ(3)"), Column("price", "BIGINT"))),
    event_time=EventTime("event_time", historical=True),
)  # fmt: skip
COUNTS = (
    "SELECT COUNT(*) AS n FROM TABLE(TUMBLE(TABLE source_stream, DESCRIPTOR(event_time), INTERVAL '1' MINUTE)) "
    "GROUP BY window_start, window_end"
)
PLAIN = TransformOptions(
    finetuner_id("desk"), "SELECT price FROM source_stream", (StreamBinding("source_stream", EVENTS, SOURCE),)
)

OWNER = ResourceId("StreamFinetuner", "default", "desk")


@pytest.fixture
def log(tmp_path: Path) -> TopicLog:
    found = open_log(tmp_path)
    append(found, EVENTS, [new_record(f"trades:{n}", b'{"price": 1}', event_time=n * 60_000) for n in range(5)])
    return found


def said(log: TopicLog, running: TransformOptions, declared: TransformOptions) -> str | None:
    stage = TransformStage(running, log, "test")
    assert stage.step()
    topology = Topology((transform_spec(declared),))
    return query_changes(topology, log, "duckdb").get(OWNER)


def test_nothing_is_said_of_a_query_that_stays_or_does_not_run_yet(log: TopicLog) -> None:
    topology = Topology((transform_spec(PLAIN),))
    assert query_changes(topology, log, "duckdb") == {}
    assert said(log, PLAIN, replace(PLAIN, sql="select price\nfrom source_stream;")) is None


def test_a_query_without_windows_is_said_to_go_on(log: TopicLog) -> None:
    assert said(log, PLAIN, replace(PLAIN, sql="SELECT price + 1 AS price FROM source_stream")) == (
        "its query continues where the previous one stopped"
    )


def test_a_query_that_restarts_says_how_much_it_reads_and_how_to_choose_less(log: TopicLog) -> None:
    assert said(log, PLAIN, replace(PLAIN, sql=COUNTS)) == (
        "its query cannot take over the previous one's state and restarts; trades is read again from its start (up to 5 records), "
        "and its rows are learned again; set preProcessing.startTime to start elsewhere"
    )


def test_a_chosen_start_is_said_with_what_is_left_to_read(log: TopicLog) -> None:
    told = said(log, PLAIN, replace(PLAIN, sql=COUNTS, start_ms=180_000))
    assert told is not None
    assert "trades is read again from 1970-01-01T00:03:00Z (up to 2 records)" in told


def test_a_query_that_the_engine_will_refuse_says_so_beforehand(log: TopicLog) -> None:
    told = said(log, PLAIN, replace(PLAIN, sql="SELECT prise FROM source_stream"))
    assert told is not None
    assert told.startswith("its query will be refused: ")
