"""A finetuner's query over one stream of prices, on either engine, stepped by a test: fed, changed, killed, compared.

desk = Desk.in_the_process(folder)            # SQLite and DuckDB
desk = Desk.on_the_cluster(folder, cluster)   # Kafka and Flink
desk.feed(1, 1, 2)
desk.run(COUNTS, [2])
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from headrace.cluster import LocalCluster
from headrace.connectors.source import EventTime, SourceOptions
from headrace.events import codec, topics
from headrace.events.control import Control
from headrace.events.schema import Column, RowSchema
from headrace.foundation.clock import SYSTEM_CLOCK
from headrace.log.record import NewRecord, Record
from headrace.log.registry import open_log
from headrace.log.topic_log import TopicLog, TopicSpec
from headrace.stages.stage import Condition, Stage, StageStatus, read_statuses
from headrace.stages.transform.job import TransformJobStage
from headrace.stages.transform.options import StreamBinding, TransformOptions
from headrace.stages.transform.row_source import control_record
from headrace.stages.transform.stage import TransformStage
from headrace.stages.transform.stream_time import latest_of, stamped
from headrace.streams.flink.engine import FlinkEngine
from headrace.testing.builders import append, new_record, read_all
from headrace.testing.resource_ids import connector_id, finetuner_id

PATIENCE_SECONDS = 60.0
MINUTE = 60_000
EVENTS = topics.events(connector_id("trades"))
SCHEMA = RowSchema((Column("event_time", "TIMESTAMP_LTZ(3)"), Column("price", "BIGINT")))
COUNTS = (
    "SELECT window_start, COUNT(*) AS n FROM TABLE(TUMBLE(TABLE source_stream, DESCRIPTOR(event_time), "
    "INTERVAL '1' MINUTE)) GROUP BY window_start, window_end"
)
SUMS = COUNTS.replace("COUNT(*) AS n", "SUM(price) AS n")


class Open(Protocol):
    """Opens a transform stage."""

    def __call__(self, options: TransformOptions, log: TopicLog) -> Stage: ...


@dataclass
class Desk:
    """A finetuner's query over one stream of prices."""

    open_log: Callable[[], TopicLog]
    open: Open
    jobs: FlinkEngine | None = None
    fed: int = 0
    latest: int | None = None
    ended: int | None = None
    """The time of the stream, now and at its last end."""
    stage: Stage | None = None
    logs: list[TopicLog] = field(default_factory=list)
    """The last one is in use; the others were killed."""

    @staticmethod
    def in_the_process(folder: Path) -> "Desk":
        """On SQLite in a folder, with DuckDB."""
        return Desk(
            lambda: open_log(folder),
            lambda options, log: TransformStage(options, log, "test"),
        )

    @staticmethod
    def on_the_cluster(folder: Path, cluster: LocalCluster, options: Mapping[str, str] | None = None) -> "Desk":
        """On a real Kafka, under a prefix of the folder's name, with jobs of a real Flink. `options`: further ones of the log."""
        found = cluster.addresses
        given = {"kafka": found.kafka, "kafka_prefix": f"{folder.parent.name}.{folder.name}.", **(options or {})}
        jobs = FlinkEngine({"gateway": found.flink_gateway, "jobmanager": found.flink_rest})
        return Desk(
            lambda: open_log(folder, technology="kafka", options=given),
            lambda options, log: TransformJobStage(options, log, "test", jobs),
            jobs,
        )

    @property
    def log(self) -> TopicLog:
        """The log, opened when it is first asked for."""
        if not self.logs:
            self.killed()
        return self.logs[-1]

    def killed(self) -> None:
        """Nothing of the process is left: the stage is dropped as it is, and the log is opened again."""
        self.stage = None
        self.logs.append(self.open_log())
        self.log.ensure_topic(TopicSpec(EVENTS))

    def close(self) -> None:
        """Ends the stage, its job and the log."""
        if self.stage is not None:
            self.stage.close()
        job = self.running_job()
        if job is not None and self.jobs is not None:
            self.jobs.cancel(job)
        for log in self.logs:
            log.close()

    def running_job(self) -> str | None:
        """The id of the query's job on the cluster."""
        name = self.job_name()
        status = self.jobs.find(name) if self.jobs is not None and name else None
        return status.job_id if status else None

    def job_name(self) -> str:
        """Of the query's job on the cluster; empty: there is none yet."""
        topic = topics.job(finetuner_id("desk"))
        if topic not in {info.spec.name for info in self.log.topics()}:
            return ""
        table = self.log.external_table(topic)
        return table.topic if table else ""

    def step(self) -> None:
        """One step of the stage; where it had nothing to do, after a moment."""
        assert self.stage is not None
        if not self.stage.step():
            SYSTEM_CLOCK.sleep(0.02)

    def feed(self, *minutes: int) -> None:
        """A row for each, at that minute; its price is its number among all rows."""
        records = []
        for minute in minutes:
            self.fed += 1
            value = {"event_time": f"1970-01-01T{minute // 60:02}:{minute % 60:02}:00.000Z", "price": self.fed}
            encoded = json.dumps(value).encode()
            records.append(new_record(f"trades:{self.fed}", encoded, event_time=minute * MINUTE, ingested_at=self.fed))
        self._append(records)

    def end(self) -> None:
        """The sign that the source has ended."""
        self._append([control_record(f"end:{self.fed}", Control("end", "trades"), self.latest or 0)])
        self.ended = self.latest

    def _append(self, records: Sequence[NewRecord]) -> None:
        """As ingest does: with the time of the stream."""
        append(self.log, EVENTS, stamped(records, self.latest, self.ended))
        self.latest = latest_of([one for one in records if one.kind == codec.ROW], self.latest)

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
        binding = StreamBinding("source_stream", EVENTS, _source(schema))
        options = TransformOptions(finetuner_id("desk"), sql, (binding,), start_ms=start_ms, parallelism=parallelism)
        if self.stage is not None:
            self.stage.close()
        self.stage = self.open(replace(options, checkpoint_interval_ms=200), self.log)
        self._step_until(lambda: numbers(self.rows())[-len(last) :] == [*last])
        return self.rows()

    def rows(self) -> Sequence[Record]:
        found = read_all(self.log, topics.rows(finetuner_id("desk")))
        return [record for record in found if record.kind == codec.ROW]

    def late(self, count: int) -> Sequence[Record]:
        """The late rows, once there are so many: each instance of a job commits its own."""
        self._step_until(lambda: len(self._late()) >= count)
        return self._late()

    def _late(self) -> Sequence[Record]:
        return read_all(self.log, topics.late(finetuner_id("desk")))

    def hears(self, words: str) -> bool:
        """Whether the stage says it, at the latest when its job is known to run."""
        self._step_until(lambda: words in self._condition().message)
        return True

    def _step_until(self, done: Callable[[], bool]) -> None:
        assert self.stage is not None
        deadline = SYSTEM_CLOCK.monotonic() + PATIENCE_SECONDS
        while not done():
            if not self.stage.step():
                SYSTEM_CLOCK.sleep(0.02)
            assert SYSTEM_CLOCK.monotonic() < deadline, (self.rows(), self._late(), read_statuses(self.log))

    def progress(self) -> dict[str, int | float | str]:
        """The figures that the stage told last."""
        return self._status().progress

    def _condition(self) -> Condition:
        return self._status().conditions[0]

    def _status(self) -> StageStatus:
        (status,) = [one for one in read_statuses(self.log) if one.stage == "transform"]
        return status


def numbers(records: Sequence[Record]) -> list[int]:
    """The column `n` of rows."""
    return [json.loads(record.value)["n"] for record in records]


def _source(schema: RowSchema) -> SourceOptions:
    time = EventTime("event_time", historical=True)
    return SourceOptions(connector_id("trades"), "file", {}, schema=schema, event_time=time)
