"""A job's statements as they are, without the engine around them, on a real Flink: the rows, names, times and late rows of the process."""

import dataclasses
import json
import secrets
from collections.abc import Generator, Iterable, Sequence

import msgspec
import pyarrow as pa
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from headrace.cluster import LocalCluster
from headrace.events.control import Control
from headrace.events.row_batch import RowBatch
from headrace.events.row_codec import batch_to_records, row_values
from headrace.events.schema import Column, RowSchema, type_name
from headrace.foundation.clock import SYSTEM_CLOCK
from headrace.log.record import Record
from headrace.log.topic_log import ExternalTable
from headrace.streams.duckdb.engine import DuckDBEngine
from headrace.streams.flink.job_manager import JobManager
from headrace.streams.flink.raw_rows import read_raw
from headrace.streams.flink.rest import Rest
from headrace.streams.flink.sql.job_sql import write_job
from headrace.streams.flink.statements import session_properties
from headrace.streams.planning import describe
from headrace.streams.stream_engine import QuerySpec
from headrace.streams.stream_job import JobOptions, JobOutput, JobSpec
from headrace.streams.validate import plan_query
from headrace.testing.cluster_sql import FlinkSql
from headrace.testing.engine_cases import CASES, Case, case_spec, corpus_batches, static_tables
from headrace.testing.engine_conformance import Outcome, run

PATIENCE_SECONDS = 90.0
AT_ONCE = 4
"""Jobs that run beside one another."""
OVER = ("FAILED", "FINISHED", "CANCELED")


def job_of(spec: QuerySpec, name: str, bootstrap: str, parallelism: int = 1) -> JobSpec:
    """A job over the corpus's topics, writing `corpus.NAME`."""
    properties = {"bootstrap.servers": bootstrap}
    inputs = {one.name: ExternalTable("kafka", f"corpus.{one.name}", properties) for one in spec.inputs}
    tables = {one.name: ExternalTable("kafka", f"corpus.table.{one.name}", properties) for one in spec.tables}
    output = ExternalTable("kafka", f"corpus.{name}", properties)
    options = JobOptions(parallelism=parallelism, checkpoint_interval_ms=500)
    return JobSpec(name, spec, describe(spec, plan_query(spec)), inputs, tables, output, options)


class Corpus:
    """The corpus's topics on a broker. Its records do not say how far their stream had come: jobs take the watermark for it."""

    def __init__(self, cluster: LocalCluster) -> None:
        self.cluster = cluster
        self.bootstrap = cluster.addresses.kafka
        self._admin = AdminClient({"bootstrap.servers": self.bootstrap})
        self._producer = Producer({"bootstrap.servers": self.bootstrap})
        batches = corpus_batches() | {f"table.{one.name}": _as_batch(one.table) for one in static_tables()}
        self.create(f"corpus.{name}" for name in batches)
        for name, batch in batches.items():
            self.end(name, self.feed(name, batch))

    def create(self, topics: Iterable[str]) -> None:
        """The corpus lies in the past, so that it would be beyond any time for which topics are kept."""
        new = [NewTopic(one, 1, 1, config={"retention.ms": "-1"}) for one in topics]
        for future in self._admin.create_topics(new).values() if new else ():
            future.result(PATIENCE_SECONDS)

    def feed(self, name: str, batch: RowBatch) -> int:
        """Gives the latest event time, ms."""
        latest = 0
        for one in batch_to_records(batch):
            self._send(f"corpus.{name}", one.id, one.kind, one.value, one.event_time, one.key, one.ingested_at)
            latest = max(latest, one.event_time)
        self._producer.flush(PATIENCE_SECONDS)
        return latest

    def end(self, name: str, latest: int) -> None:
        """The sign behind the last row."""
        end = msgspec.json.encode(Control("end", name))
        self._send(f"corpus.{name}", f"end:{name}", "control/1", end, latest, "end", latest)
        self._producer.flush(PATIENCE_SECONDS)

    def _send(self, topic: str, name: str, kind: str, value: bytes, time: int, key: str, ingested: int) -> None:
        headers: list[tuple[str, str | bytes | None]] = [
            ("id", name.encode()), ("kind", kind.encode()), ("origin", b"{}"), ("ingested_at", str(ingested).encode()),
        ]  # fmt: skip
        self._producer.produce(topic, value, key or None, partition=0, timestamp=time, headers=headers)


class Jobs:
    """The jobs of some queries: several run at once, ahead of the caller."""

    def __init__(self, corpus: Corpus, cases: Sequence[Case], prefix: str, parallelism: int = 1) -> None:
        self._corpus, self._waiting = corpus, list(range(len(cases)))
        specs = [case_spec(one.sql, one.timeline) for one in cases]
        self._jobs = [
            job_of(one, f"{prefix}-{place}", corpus.bootstrap, parallelism) for place, one in enumerate(specs)
        ]
        self._manager = JobManager(
            Rest("Flink's JobManager", corpus.cluster.addresses.flink_rest, {}, "flink_jobmanager")
        )
        self._running: dict[int, tuple[FlinkSql, str]] = {}
        self._found: dict[int, JobOutput] = {}
        corpus.create(job.output.topic for job in self._jobs)

    def output(self, place: int) -> JobOutput:
        """What a query gave, up to the signs of all its inputs."""
        if place not in self._found:
            self._waiting = [one for one in self._waiting if one >= place]
            while self._waiting and len(self._running) < AT_ONCE:
                following = self._waiting.pop(0)
                self._running[following] = self.submit(self._jobs[following])
            try:
                self._found[place] = read_raw(self._jobs[place], self.read(self._jobs[place], *self._running[place]))
            finally:
                self._end(place)
        return self._found[place]

    def close(self) -> None:
        for place in list(self._running):
            self._end(place)

    def _end(self, place: int) -> None:
        session, job_id = self._running.pop(place)
        session.cancel(job_id)
        session.close()

    def submit(self, job: JobSpec) -> tuple[FlinkSql, str]:
        session, written = FlinkSql(self._corpus.cluster), write_job(job)
        settings = session_properties(job.name, secrets.token_hex(16), job.options, None) | dict(written.settings)
        for key, value in settings.items():
            session.run(f"SET '{key}' = '{value}'")
        for statement in written.statements:
            session.run(statement)
        return session, str(session.run(written.insert)[0][0])

    def read(self, job: JobSpec, session: FlinkSql, job_id: str) -> list[Record]:
        """The records up to the last sign: with it or before it came all that came before it in the inputs."""
        consumer = Consumer({
            "bootstrap.servers": self._corpus.bootstrap, "group.id": job.name, "isolation.level": "read_committed",
            "enable.auto.commit": False, "enable.partition.eof": True,
        })  # fmt: skip
        consumer.assign([TopicPartition(job.output.topic, 0, 0)])
        found, signs, deadline = list[Record](), 0, SYSTEM_CLOCK.monotonic() + PATIENCE_SECONDS
        try:
            while True:
                message = consumer.poll(0.5)
                if message is not None and message.error() is None:
                    value = message.value() or b""
                    signs += json.loads(value)["x"] == "sign"
                    found.append(Record(message.offset() or 0, "", "raw", value, 0, "", "", 0))
                elif signs >= len(job.plan.inputs):
                    return found  # the whole transaction of the last sign is read: nothing follows it
                state = session.state(job_id)
                assert state not in OVER, f"{job.name} is {state}: {self._why(job_id)}\n{job.query.sql}"
                assert SYSTEM_CLOCK.monotonic() < deadline, (
                    f"no end of {job.name} within {PATIENCE_SECONDS:.0f} s, it is {state}: {self._why(job_id)}\n{job.query.sql}"
                )
        finally:
            consumer.close()

    def _why(self, job_id: str) -> str:
        """What went wrong last, and its trace."""
        return f"{self._manager.trouble(job_id)}\n{self._manager.failure(job_id)}"


def outcome(output: JobOutput) -> Outcome:
    """As the corpus's runner gives it, but that rows come in any order: sorted."""
    found = Outcome()
    records = batch_to_records(output.rows) if output.rows is not None else []
    pairs = [
        (row_values(Record(0, one.id, one.kind, one.value, 0, "", "", 0)), (one.id, one.key, one.event_time, one.ingested_at, one.origin))
        for one in records
    ]  # fmt: skip
    for row, envelope in pairs:
        found.rows.append(row)
        found.envelopes.append(envelope)
    found.late = sorted((one.input, one.offset, one.by_ms) for one in output.late)
    return in_order(found)


def in_order(found: Outcome) -> Outcome:
    """The rows by their ids."""
    pairs = sorted(zip(found.envelopes, found.rows, strict=True), key=lambda pair: str(pair[0]))
    rows, envelopes = [row for _, row in pairs], [envelope for envelope, _ in pairs]
    return dataclasses.replace(found, rows=rows, envelopes=envelopes, late=sorted(found.late))


def _as_batch(table: pa.Table) -> RowBatch:
    schema = RowSchema(tuple(Column(one.name, type_name(one.type)) for one in table.schema))
    count = table.num_rows
    texts, zeros = pa.array([str(place) for place in range(count)]), pa.array([0] * count, pa.int64())
    return RowBatch(table.cast(schema.to_arrow()), schema, texts, texts, zeros, zeros, texts, zeros)


ASKED = [case for case in CASES if case.late or "JOIN" in case.sql][::3]
"""A few: the rest of them is asked by the corpus of the engines."""
TWICE = [case for case in ASKED if "SESSION" not in case.sql][::2]
UNLISTED = "Flink leaves rows out that come after their session, and does not say which"


@pytest.fixture(scope="module")
def corpus(flink_cluster: LocalCluster) -> Corpus:
    return Corpus(flink_cluster)


@pytest.fixture(scope="module")
def jobs(corpus: Corpus) -> Generator[Jobs]:
    found = Jobs(corpus, ASKED, "one")
    yield found
    found.close()


@pytest.fixture(scope="module")
def jobs_of_two(corpus: Corpus) -> Generator[Jobs]:
    found = Jobs(corpus, TWICE, "two", parallelism=2)
    yield found
    found.close()


@pytest.mark.parametrize("place", range(len(ASKED)), ids=lambda place: ASKED[place].name)
def test_flink_gives_the_same_as_the_engine_in_the_process(jobs: Jobs, place: int) -> None:
    _same(ASKED[place], jobs.output(place))


@pytest.mark.parametrize("place", range(len(TWICE)), ids=lambda place: TWICE[place].name)
def test_two_tasks_per_step_give_the_same(jobs_of_two: Jobs, place: int) -> None:
    _same(TWICE[place], jobs_of_two.output(place))


@pytest.mark.xfail(strict=True, reason=UNLISTED)
@pytest.mark.parametrize(
    "place",
    [place for place, case in enumerate(ASKED) if "SESSION" in case.sql and case.late],
    ids=lambda place: ASKED[place].name,
)
def test_late_rows_of_sessions_are_listed(jobs: Jobs, place: int) -> None:
    case = ASKED[place]
    expected = in_order(run(DuckDBEngine(), case_spec(case.sql, case.timeline), corpus_batches()))
    assert outcome(jobs.output(place)).late == expected.late


def test_a_sign_waits_until_a_static_table_is_read(corpus: Corpus) -> None:
    """As the rows before it do: else it would say that they have come out."""
    case = next(one for one in CASES if one.name == "a join with a static table")
    expected = in_order(run(DuckDBEngine(), case_spec(case.sql, case.timeline), corpus_batches()))
    name = next(one for one in static_tables() if one.name in case.sql)
    whole = job_of(case_spec(case.sql, case.timeline), "gated", corpus.bootstrap)
    slow = dataclasses.replace(whole.tables[name.name], topic="corpus.slow")
    job = dataclasses.replace(whole, tables={**whole.tables, name.name: slow})
    corpus.create(["corpus.slow", job.output.topic])
    latest = corpus.feed("slow", _as_batch(name.table))
    jobs = Jobs(corpus, [], "gated")
    session, job_id = jobs.submit(job)
    try:
        session.wait_until_running(job_id)
        session.wait_for_checkpoint(job_id, after=3)
        assert _length(corpus, job.output.topic) == 0
        corpus.end("slow", latest)
        found = outcome(read_raw(job, jobs.read(job, session, job_id)))
        assert found.rows == expected.rows
    finally:
        session.cancel(job_id)
        session.close()


def _length(corpus: Corpus, topic: str) -> int:
    """The offset behind the last record of a topic."""
    consumer = Consumer({"bootstrap.servers": corpus.bootstrap, "group.id": "length"})
    try:
        return consumer.get_watermark_offsets(TopicPartition(topic, 0), PATIENCE_SECONDS)[1]
    finally:
        consumer.close()


def _same(case: Case, output: JobOutput) -> None:
    expected = in_order(run(DuckDBEngine(), case_spec(case.sql, case.timeline), corpus_batches()))
    found = outcome(output)
    assert found.rows == expected.rows
    assert found.envelopes == expected.envelopes
    if "SESSION" not in case.sql:
        assert found.late == expected.late
    assert {one.sign for one in output.signs} == {"end"}
