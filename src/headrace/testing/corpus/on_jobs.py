"""Runs corpus queries as jobs on a cluster: inputs as canonical topics, the outcome from what the jobs wrote."""

import secrets
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock

import pyarrow as pa

from headrace.events.control import Control
from headrace.events.row_batch import RowBatch
from headrace.events.row_codec import batch_to_records
from headrace.foundation.clock import SYSTEM_CLOCK
from headrace.foundation.errors import CorruptDataError, UnavailableError
from headrace.log.record import NewRecord, Record
from headrace.log.topic_log import Append, Commit, ExternalTable, TopicLog, TopicSpec
from headrace.stages.transform.job_tables import table_records
from headrace.stages.transform.row_source import control_record
from headrace.stages.transform.stream_time import stamped
from headrace.streams.stream_job import JobOptions, JobOutput, JobSpec, StreamJobEngine
from headrace.testing.corpus.corpus_query import CorpusQuery
from headrace.testing.corpus.outcome import Outcome

PATIENCE_SECONDS = 120.0
"""How long a job may write nothing before its end."""
CHECKPOINT_MS = 1_000
SLOTS = 8
"""Of the cluster; a job takes one per instance."""
LOOK_SECONDS = 3.0
"""A job that has written nothing new for so long is asked how it is."""
MOST_RESTARTS = 2
"""A row that a job cannot take restarts it again and again."""
_PIECE = 50_000
"""Rows to a transaction."""


class JobFailedError(Exception):
    """A job that did not get to its end, and why."""


class JobRunner:
    """One engine and one log. Several queries run at once, ahead of the caller."""

    def __init__(
        self,
        engine: StreamJobEngine,
        log: TopicLog,
        queries: Sequence[CorpusQuery],
        parallelism: int = 1,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        """`patience`: how many seconds a job may write nothing; one window over everything comes at the end alone."""
        self._engine, self._log, self._parallelism, self._patience = engine, log, parallelism, patience
        self._name = f"corpus-{secrets.token_hex(4)}"
        self._queries = list(queries)
        self._places = {query.name: place for place, query in enumerate(self._queries)}
        self._pool = ThreadPoolExecutor(self.at_once)
        self._started: dict[int, Future[Outcome]] = {}
        self._inputs: dict[int, dict[str, str]] = {}
        self._lock = Lock()

    @property
    def at_once(self) -> int:
        """How many jobs have slots."""
        return max(1, SLOTS // self._parallelism)

    def outcome(self, name: str) -> Outcome:
        """The outcome of a query. HeadraceError: the engine refuses it. JobFailedError: it runs and does not get to its end."""
        place = self._places[name]
        for one in range(place, min(place + 2 * self.at_once, len(self._queries))):
            if one not in self._started:
                self._started[one] = self._pool.submit(self._run, one)
        return self._started[place].result(self._patience * 3)

    def close(self) -> None:
        """Ends jobs whose outcome was not asked for."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _run(self, place: int) -> Outcome:
        query = self._queries[place]
        plan = self._engine.plan(query.spec)
        topics = self._input_topics(query.batches)
        output = f"{self._name}.query{place}.job"
        self._log.ensure_topic(TopicSpec(output))
        tables = {
            one.name: self._external(f"{self._name}.query{place}.table.{one.name}")
            for one in query.spec.tables
            if one.name in query.spec.sql
        }
        for one in query.spec.tables:
            if one.name in tables:
                self._write(f"{self._name}.query{place}.table.{one.name}", table_records(one))
        inputs = {name: self._external(topics[name]) for name in plan.inputs}
        options = JobOptions(self._parallelism, CHECKPOINT_MS)
        job = JobSpec(
            f"{self._name}-{self._parallelism}-{place}",
            query.spec,
            plan,
            inputs,
            tables,
            self._external(output),
            options,
        )
        job_id = self._submit(job)
        try:
            return self._collect(job, job_id, output)
        finally:
            self._engine.cancel(job_id)

    def _submit(self, job: JobSpec) -> str:
        """Waits for the slots of the job before it, which are free some time after its end."""
        deadline = SYSTEM_CLOCK.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return self._engine.submit(job)
            except UnavailableError:
                if SYSTEM_CLOCK.monotonic() > deadline:
                    raise
                SYSTEM_CLOCK.sleep(0.5)

    def _input_topics(self, batches: Mapping[str, RowBatch]) -> dict[str, str]:
        """Each set of inputs is written once."""
        with self._lock:
            known = self._inputs.get(id(batches))
            if known is None:
                known = {name: f"{self._name}.{len(self._inputs)}.{name}.events" for name in batches}
                for name, batch in batches.items():
                    rows = batch_to_records(batch)
                    end = control_record("end", Control("end", name), max((row.event_time for row in rows), default=0))
                    self._write(known[name], stamped([*rows, end]))
                self._inputs[id(batches)] = known
            return known

    def _write(self, topic: str, records: Sequence[NewRecord]) -> None:
        self._log.ensure_topic(TopicSpec(topic))
        for first in range(0, len(records), _PIECE):
            self._log.commit(Commit([Append(topic, records[first : first + _PIECE])]))

    def _external(self, topic: str) -> ExternalTable:
        self._log.ensure_topic(TopicSpec(topic))
        found = self._log.external_table(topic)
        assert found is not None, "an engine outside reads no such log"
        return found

    def _collect(self, job: JobSpec, job_id: str, topic: str) -> Outcome:
        """What the job wrote up to the last of its inputs' `end`: the rest of that sign's transaction comes with it."""
        outcome, offset, ended = Outcome(), 0, set[str]()
        deadline, look = SYSTEM_CLOCK.monotonic() + self._patience, SYSTEM_CLOCK.monotonic() + LOOK_SECONDS
        while True:
            records = self._log.read(topic, offset)
            if records:
                offset = records[-1].offset + 1
                output = self._read(job, records)
                outcome.take(output.rows)
                outcome.late.update((one.input, one.offset, one.by_ms) for one in output.late)
                ended.update(one.input for one in output.signs if one.sign == "end")
                deadline = SYSTEM_CLOCK.monotonic() + self._patience
            elif ended >= set(job.plan.inputs):
                return outcome
            else:
                if SYSTEM_CLOCK.monotonic() > look:
                    self._check(job, job_id, deadline)
                    look = SYSTEM_CLOCK.monotonic() + LOOK_SECONDS
                SYSTEM_CLOCK.sleep(0.2)

    def _read(self, job: JobSpec, records: Sequence[Record]) -> JobOutput:
        try:
            return self._engine.read_output(job, records)
        except (pa.ArrowException, CorruptDataError) as error:
            raise JobFailedError(f"what {job.name} wrote cannot be read: {error}\n{job.query.sql}") from error

    def _check(self, job: JobSpec, job_id: str, deadline: float) -> None:
        status = self._engine.status(job_id)
        over = status is None or status.state in ("failed", "finished", "cancelled") or status.restarts > MOST_RESTARTS
        if over or SYSTEM_CLOCK.monotonic() > deadline:
            raise JobFailedError(f"{job.name} does not get to its end: {status}\n{job.query.sql}")
