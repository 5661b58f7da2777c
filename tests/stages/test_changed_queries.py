"""A query that changes while it runs: in the process over SQLite, and as a job of a real Flink over a real Kafka, to the same end."""

import json
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import pytest

from headrace.cluster import LocalCluster
from headrace.connectors.source import EventTime, SourceOptions
from headrace.events import codec, topics
from headrace.events.control import Control
from headrace.events.schema import Column, RowSchema
from headrace.foundation.clock import SYSTEM_CLOCK
from headrace.log.record import Record
from headrace.log.registry import open_log
from headrace.log.topic_log import TopicLog, TopicSpec
from headrace.stages.options import StreamBinding, TransformOptions
from headrace.stages.row_source import control_record
from headrace.stages.stage import Condition, Stage, read_statuses
from headrace.stages.transform import TransformStage
from headrace.stages.transform_job import TransformJobStage
from headrace.streams.flink.engine import FlinkEngine
from headrace.testing.builders import append, new_record, read_all

PATIENCE_SECONDS = 60.0
MINUTE = 60_000
EVENTS = topics.events("default", "trades")
SCHEMA = RowSchema((Column("event_time", "TIMESTAMP_LTZ(3)"), Column("price", "BIGINT")))
GROWN = RowSchema((*SCHEMA.columns, Column("venue", "STRING")))
COUNTS = (
    "SELECT window_start, COUNT(*) AS n FROM TABLE(TUMBLE(TABLE source_stream, DESCRIPTOR(event_time), "
    "INTERVAL '1' MINUTE)) GROUP BY window_start, window_end"
)
SUMS = COUNTS.replace("COUNT(*) AS n", "SUM(price) AS n")


class Open(Protocol):
    """Opens a transform stage."""

    def __call__(self, options: TransformOptions, schema: RowSchema, log: TopicLog) -> Stage: ...


@dataclass
class Desk:
    """A finetuner's query over one stream of prices."""

    log: TopicLog
    open: Open
    fed: int = 0
    stages: list[Stage] = field(default_factory=list)

    def feed(self, *minutes: int) -> None:
        """A row for each, at that minute; its price is its number among all rows."""
        records = []
        for minute in minutes:
            self.fed += 1
            value = {"event_time": f"1970-01-01T{minute // 60:02}:{minute % 60:02}:00.000Z", "price": self.fed}
            encoded = json.dumps(value).encode()
            records.append(new_record(f"trades:{self.fed}", encoded, event_time=minute * MINUTE, ingested_at=self.fed))
        append(self.log, EVENTS, records)

    def end(self) -> None:
        """The sign that the source has ended."""
        append(self.log, EVENTS, [control_record(f"end:{self.fed}", Control("end", "trades"), 90 * MINUTE)])

    def run(
        self,
        sql: str,
        last: Sequence[int],
        *,
        start_ms: int | None = None,
        parallelism: int = 1,
        schema: RowSchema = SCHEMA,
    ) -> Sequence[Record]:
        """Runs the query in place of the one before until the last rows' numbers are these; gives all rows."""
        binding = StreamBinding("source_stream", EVENTS, "trades")
        options = TransformOptions("default", "desk", sql, (binding,), start_ms=start_ms, parallelism=parallelism)
        for former in self.stages:
            former.close()
        stage = self.open(replace(options, checkpoint_interval_ms=200), schema, self.log)
        self.stages = [stage]
        deadline = SYSTEM_CLOCK.monotonic() + PATIENCE_SECONDS
        while numbers(found := self.rows())[-len(last) :] != [*last]:
            if not stage.step():
                SYSTEM_CLOCK.sleep(0.02)
            assert SYSTEM_CLOCK.monotonic() < deadline, (found, read_statuses(self.log))
        return found

    def rows(self) -> Sequence[Record]:
        found = read_all(self.log, topics.rows("default", "desk"))
        return [record for record in found if record.kind == codec.ROW]

    def hears(self, words: str) -> bool:
        """Whether the stage says it, at the latest when its job is known to run."""
        (stage,) = self.stages
        deadline = SYSTEM_CLOCK.monotonic() + PATIENCE_SECONDS
        while words not in (said := self._condition().message):
            if SYSTEM_CLOCK.monotonic() > deadline:
                raise AssertionError(said)
            if not stage.step():
                SYSTEM_CLOCK.sleep(0.02)
        return True

    def _condition(self) -> Condition:
        (status,) = [one for one in read_statuses(self.log) if one.stage == "transform"]
        return status.conditions[0]


def numbers(records: Sequence[Record]) -> list[int]:
    return [json.loads(record.value)["n"] for record in records]


def source(schema: RowSchema) -> dict[str, SourceOptions]:
    time = EventTime("event_time", historical=True)
    return {"trades": SourceOptions("default", "trades", "file", {}, schema=schema, event_time=time)}


def in_the_process(options: TransformOptions, schema: RowSchema, log: TopicLog) -> Stage:
    return TransformStage(options, source(schema), log, "test")


@pytest.fixture(params=["duckdb", pytest.param("flink", marks=pytest.mark.slow)])
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[Desk]:
    if request.param == "duckdb":
        log, jobs, opener = open_log(tmp_path), None, in_the_process
    else:
        cluster: LocalCluster = request.getfixturevalue("flink_cluster")
        found = cluster.addresses
        prefix = f"changed.{tmp_path.name}."
        log = open_log(tmp_path, technology="kafka", options={"kafka": found.kafka, "kafka_prefix": prefix})
        jobs = FlinkEngine({"gateway": found.flink_gateway, "jobmanager": found.flink_rest})

        def opener(options: TransformOptions, schema: RowSchema, log: TopicLog) -> Stage:
            return TransformJobStage(options, source(schema), log, "test", jobs)

    log.ensure_topic(TopicSpec(EVENTS))
    found = Desk(log, opener)
    yield found
    for stage in found.stages:
        stage.close()
    if jobs is not None:
        name = log.external_table(topics.job("default", "desk"))
        running = jobs.find(name.topic) if name else None
        if running is not None:
            jobs.cancel(running.job_id)
    log.close()


def test_a_query_without_windows_goes_on_where_the_former_one_was(desk: Desk) -> None:
    desk.feed(1, 2, 3)
    desk.run("SELECT price AS n FROM source_stream WHERE price < 3", [1, 2])
    desk.feed(4, 5)
    found = desk.run("SELECT price * 100 AS n FROM source_stream WHERE price > 3", [400, 500])
    assert numbers(found) == [1, 2, 400, 500]
    assert [record.id for record in found] == ["trades:1", "trades:2", "trades:4", "trades:5"]
    assert desk.hears("goes on where the former one was")


def test_a_query_with_windows_that_changes_begins_anew_at_its_inputs_start(desk: Desk) -> None:
    desk.feed(1, 1, 2)
    desk.run(COUNTS, [2])
    desk.feed(3)
    found = desk.run(SUMS, [1 + 2, 3])
    assert len({record.id for record in found}) == len(found)
    assert desk.hears("began anew")


def test_what_the_former_query_had_finished_is_taken_in_before_the_new_one_begins(desk: Desk) -> None:
    desk.feed(1, 1, 2)
    desk.run(COUNTS, [2])
    found = desk.run("SELECT price * 100 AS n FROM source_stream", [100, 200, 300])
    assert numbers(found) == [2, 100, 200, 300]


def test_the_same_query_in_another_lay_out_keeps_its_open_windows(desk: Desk) -> None:
    desk.feed(1, 1, 2)
    desk.run(COUNTS, [2])
    desk.feed(2, 3)
    assert numbers(desk.run(COUNTS.replace("SELECT", "-- counts\nselect"), [2, 2])) == [2, 2]


def test_a_query_with_windows_goes_on_when_its_source_has_got_another_column(desk: Desk) -> None:
    desk.feed(1, 1, 2)
    desk.run(COUNTS, [2])
    desk.feed(2, 3)
    assert numbers(desk.run(COUNTS, [2, 2], schema=GROWN)) == [2, 2]


def test_a_query_begins_at_the_time_that_is_declared(desk: Desk) -> None:
    desk.feed(1, 2, 3, 4)
    assert numbers(desk.run("SELECT price AS n FROM source_stream", [3, 4], start_ms=3 * MINUTE)) == [3, 4]
    desk.feed(4, 5)
    found = desk.run(SUMS, [3, 4 + 5], start_ms=3 * MINUTE)
    assert 1 not in numbers(found)


def test_other_resources_take_the_windows_of_the_query_over(desk: Desk) -> None:
    desk.feed(1, 1, 2)
    desk.run(COUNTS, [2])
    desk.feed(2, 3)
    assert numbers(desk.run(COUNTS, [2, 2], parallelism=2)) == [2, 2]


def test_the_end_of_the_source_closes_the_windows_of_the_new_query(desk: Desk) -> None:
    desk.feed(1, 1, 2)
    desk.run(COUNTS, [2])
    desk.feed(3)
    desk.end()
    desk.run(SUMS, [1 + 2, 3, 4])
