"""Runs corpus queries as jobs on a cluster: inputs as canonical topics, the outcome from what the jobs wrote."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from headrace.events.control import Control
from headrace.events.row_batch import RowBatch
from headrace.events.row_codec import batch_to_records
from headrace.foundation.clock import SYSTEM_CLOCK
from headrace.log.topic_log import Append, Commit, TopicLog, TopicSpec
from headrace.stages.job_tables import table_records
from headrace.stages.row_source import control_record
from headrace.streams.stream_job import JobOptions, JobSpec, StreamJobEngine
from headrace.testing.corpus.corpus_query import CorpusQuery
from headrace.testing.corpus.outcome import Outcome

PATIENCE_SECONDS = 120.0
CHECKPOINT_MS = 400
AT_ONCE = 3
"""Jobs; each takes a slot per instance, and some seconds of planning."""


class JobRunner:
    """One engine and one log."""

    def __init__(self, engine: StreamJobEngine, log: TopicLog, parallelism: int = 1) -> None:
        self._engine, self._log, self._parallelism = engine, log, parallelism
        self._inputs: dict[int, dict[str, str]] = {}

    def run(self, queries: Sequence[CorpusQuery]) -> dict[str, Outcome | Exception]:
        """The outcome of each by its name; an engine's refusal in its place."""
        topics = [self._write_inputs(query.batches) for query in queries]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            outcomes = pool.map(self._run_one, range(len(queries)), queries, topics)
            return {query.name: outcome for query, outcome in zip(queries, outcomes, strict=True)}

    def _write_inputs(self, batches: Mapping[str, RowBatch]) -> dict[str, str]:
        """Each set of inputs once."""
        known = self._inputs.get(id(batches))
        if known is not None:
            return known
        written: dict[str, str] = {}
        for name, batch in batches.items():
            topic = f"corpus{len(self._inputs)}.{name}.events"
            self._log.ensure_topic(TopicSpec(topic))
            rows = batch_to_records(batch)
            end = control_record("end", Control("end", name), max((row.event_time for row in rows), default=0))
            self._log.commit(Commit([Append(topic, [*rows, end])]))
            written[name] = topic
        self._inputs[id(batches)] = written
        return written

    def _run_one(self, number: int, query: CorpusQuery, topics: Mapping[str, str]) -> Outcome | Exception:
        try:
            plan = self._engine.plan(query.spec)
            output = f"corpus.query{number}.job"
            self._log.ensure_topic(TopicSpec(output))
            tables = {
                one.name: self._table(number, one.name, table_records(one))
                for one in query.spec.tables
                if one.name in query.spec.sql
            }
            inputs = {name: self._external(topics[name]) for name in plan.inputs}
            job = JobSpec(
                f"{self._external(output).topic}", query.spec, plan, inputs, tables, self._external(output),
                JobOptions(self._parallelism, CHECKPOINT_MS),
            )  # fmt: skip
            job_id = self._engine.submit(job)
        except Exception as error:  # noqa: BLE001 - what the engine says is the outcome
            return error
        try:
            return self._collect(job, output)
        except Exception as error:  # noqa: BLE001 - the same
            return error
        finally:
            self._engine.cancel(job_id)

    def _external(self, topic: str):
        found = self._log.external_table(topic)
        assert found is not None
        return found

    def _table(self, number: int, name: str, records: list):
        topic = f"corpus.query{number}.table.{name}"
        self._log.ensure_topic(TopicSpec(topic))
        self._log.commit(Commit([Append(topic, records)]))
        return self._external(topic)

    def _collect(self, job: JobSpec, topic: str) -> Outcome:
        outcome, offset, ended = Outcome(), 0, set[str]()
        deadline = SYSTEM_CLOCK.monotonic() + PATIENCE_SECONDS
        origins = {one.name: job.inputs[one.name].topic for one in job.query.inputs if one.name in job.inputs}
        assert origins
        while True:
            done = ended >= set(job.plan.inputs)
            records = self._log.read(topic, offset)
            if not records:
                if done:  # the sign's transaction is here whole
                    return outcome
                if SYSTEM_CLOCK.monotonic() > deadline:
                    status = self._engine.find(job.name)
                    raise TimeoutError(f"no end after {PATIENCE_SECONDS:.0f} s: {status}")
                SYSTEM_CLOCK.sleep(0.1)
                continue
            offset = records[-1].offset + 1
            output = self._engine.read_output(job, records)
            outcome.take(output.rows)
            outcome.late.update((one.input, one.offset, one.by_ms) for one in output.late)
            ended.update(one.input for one in output.signs if one.sign == "end")
