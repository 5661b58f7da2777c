"""transform, where the query runs as a job on an engine's own cluster: starts the job, watches it, and makes canonical rows of what it wrote.

The job reads the canonical topics and writes one topic, `finetuner.job`, exactly once. Here its records get their ids, origins and
canonical form, late rows are taken from where they lie, and signs go on down the line. One commit holds all of it, the place
in `finetuner.job`, and the inputs' offsets up to each sign.

What is kept of the job: the digest of its graph, its id, its newest checkpoint with the place in `finetuner.job` that was reached
before that checkpoint, and, after a restart from a checkpoint, the stretch of the topic whose rows the job may write once more.

Another query ends the job; what it had finished is taken in, then `running_query` says where the new one begins. A job of the same
query that shall only run in another way, with more instances or other checkpoints, is stopped with a savepoint and takes its state over.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

import msgspec

from headrace.connectors.source import SourceOptions
from headrace.events import codec, topics
from headrace.events.control import Control
from headrace.events.origin import Origin, encode_origin
from headrace.events.row_codec import batch_to_records
from headrace.foundation.clock import SYSTEM_CLOCK, Clock
from headrace.foundation.errors import InvalidDeclarationError, InvalidQueryError, NotFoundError, UnavailableError
from headrace.foundation.failpoints import failpoint
from headrace.foundation.ids import derive_id
from headrace.log.record import NewRecord, Record
from headrace.log.topic_log import Append, Commit, ExternalTable, GroupOffset, StateKey, TopicLog, TopicSpec
from headrace.stages.ingest import DEAD_RETENTION_MS
from headrace.stages.job_tables import write_tables
from headrace.stages.options import StreamBinding, TransformOptions
from headrace.stages.row_source import control_record
from headrace.stages.running_query import CARRIED, Carry, RunningQuery, read_running, settle, start_offset
from headrace.stages.stage import Condition, StageReporter, take_lease
from headrace.stages.static_table import table_notes, write_table_letters
from headrace.stages.transform_inputs import WAITING_FOR_SCHEMA, QueryInputs
from headrace.streams.stream_engine import QueryPlan, QuerySpec
from headrace.streams.stream_job import JobLateRow, JobOptions, JobOutput, JobSign, JobSpec, JobStatus, StreamJobEngine

MAX_RECORDS = 20_000
LOOK_SECONDS = 0.5
"""Between two looks at the job."""
KEPT_MS = 60_000
"""How far back looks at the job's topic are remembered."""
JOB_RETENTION_MS = 7 * 86_400_000
SLOW_CHECKPOINTS = 5
"""Checkpoints that may be missing before it is said."""
BACK_PRESSURE = 0.5


class Job(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is kept of the job."""

    digest: str
    """Of its graph."""
    options: str
    """How it was run; another way of running it takes its state over."""
    job_id: str = ""
    checkpoint: str = ""
    """Where its newest completed checkpoint, or savepoint, lies."""
    reached: int = 0
    """The place in the job's topic up to which was written before that checkpoint completed."""
    again_from: int = 0
    again_to: int = 0
    """Rows written here may be written once more behind `again_to`, by the job that was started from an older checkpoint."""
    restarts: int = 0
    """How often it was started anew."""
    start: int = 0
    """The place in the job's topic at which this graph's output begins."""
    begin: dict[str, int] = {}
    """Where it began in its inputs, by input; one that is left out was read from its start."""


class TransformJobStage:
    """Owns `transform/NAMESPACE.FINETUNER`."""

    def __init__(
        self,
        options: TransformOptions,
        sources: Mapping[str, SourceOptions],
        log: TopicLog,
        holder: str,
        engine: StreamJobEngine,
        clock: Clock = SYSTEM_CLOCK,
        *,
        suspend: bool = False,
    ) -> None:
        """`suspend`: the job is stopped with a savepoint when the stage closes; else it runs on without us."""
        namespace, finetuner = options.namespace, options.finetuner
        self.name = f"transform/{namespace}.{finetuner}"
        self._options, self._log, self._clock, self._engine, self._suspend = options, log, clock, engine, suspend
        self._inputs = QueryInputs(options, sources, log, clock)
        self._rows, self._late = topics.rows(namespace, finetuner), topics.late(namespace, finetuner)
        self._output = topics.job(namespace, finetuner)
        self._dead = topics.stage_dead(namespace, finetuner, "transform")
        log.ensure_topic(TopicSpec(self._rows))
        log.ensure_topic(TopicSpec(self._late, retention_ms=DEAD_RETENTION_MS))
        log.ensure_topic(TopicSpec(self._dead, retention_ms=DEAD_RETENTION_MS))
        log.ensure_topic(TopicSpec(self._output, retention_ms=JOB_RETENTION_MS))
        self._lease = take_lease(log, self.name, holder)
        self._reporter = StageReporter(log, f"StreamFinetuner/{namespace}/{finetuner}", "transform", clock)
        self._offset = log.offset(self.name, self._output)
        self._counts = {"rows": 0, "late": 0, "ends": 0, "latest": 0, "furthest": -1}
        self._ended: set[str] = set()
        self._job: Job | None = None
        self._spec: JobSpec | None = None
        self._carry: Carry = "same"
        self._notes: Sequence[str] | None = None
        """How the query took over, and what the cluster lacks; None: not looked at yet."""
        self._status: JobStatus | None = None
        self._looked = -LOOK_SECONDS
        self._again: set[bytes] | None = None
        self._ends: list[tuple[int, int]] = []
        """(moment, where the job's topic ended), of the last looks"""
        self._load()

    def step(self) -> bool:
        if self._spec is None:
            self._spec = self._describe()
            if self._spec is None:
                return False
        self._look(self._spec)
        return self._collect(self._spec)

    def close(self) -> None:
        if self._suspend and self._spec is not None and self._job is not None and self._job.job_id:
            self._keep_stopped(self._job)

    # --- the job ---

    def _describe(self) -> JobSpec | None:
        query = self._inputs.spec()
        if query is None:
            self._reporter.say(WAITING_FOR_SCHEMA)
            return None
        try:
            settled = settle(read_running(self._log, self.name), query, self._engine.plan)
        except InvalidQueryError as error:
            self._reporter.say(Condition("Transforming", "False", "QueryRefused", str(error)), now=True)
            raise
        self._carry = settled.carry
        self._inputs.keep_to(settled.spec)
        write_table_letters(self._log, self.name, self._dead, self._inputs.tables, self._lease, self._clock)
        return self._job_of(settled.spec, settled.plan)

    def _job_of(self, query: QuerySpec, plan: QueryPlan) -> JobSpec:
        inputs = {one.name: self._external(one.topic) for one in self._options.streams if one.name in plan.inputs}
        output = self._external(self._output)
        tables = self._external_tables(query)
        interval = self._options.checkpoint_interval_ms
        options = JobOptions(self._options.parallelism, interval, max(600_000, 3 * interval))
        return JobSpec(output.topic, query, plan, inputs, tables, output, options)

    def _external(self, topic: str) -> ExternalTable:
        found = self._log.external_table(topic)
        if found is None:
            raise InvalidDeclarationError(
                f"the engine {self._engine.capabilities.name} cannot read this log", next_step='set log = "kafka"'
            )
        return found

    def _external_tables(self, query: QuerySpec) -> dict[str, ExternalTable]:
        written = write_tables(self._log, self._options, query.tables, self._lease)
        return {name: self._external(topic) for name, topic in written.items()}

    def _look(self, spec: JobSpec) -> None:
        """Sees that exactly one job of this graph runs."""
        now = self._clock.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        self._ends.append((self._clock.now_ms(), self._log.topic(self._output).end_offset))
        status = self._current(spec)
        digest, options = self._engine.job_digest(spec), _text(spec.options)
        job = self._job
        if job is None:
            job = self._first(digest, options)
        elif job.digest != digest:
            job, status = self._replaced(job, status, digest, options), None
        elif status is not None and job.options != options:
            self._reporter.say(Condition("Transforming", "False", "Replacing", "its resources changed"), now=True)
            job, status = self._stop(job, status), None
        if status is None or status.state in ("failed", "cancelled", "finished"):
            status = self._start(spec, job, options, status)
        else:
            self._keep(msgspec.structs.replace(job, job_id=status.job_id))
        if self._notes is None:
            self._notes = (*CARRIED.get(self._carry, ()), *self._engine.check_resources(self._options.sizes))
        self._status = status
        self._note_checkpoint(status)
        self._say(status)

    def _current(self, spec: JobSpec) -> JobStatus | None:
        """The job as the cluster knows it; by its name, where its id was never told to us."""
        try:
            if self._job is not None and self._job.job_id:
                status = self._engine.status(self._job.job_id)
                if status is not None:
                    return status
            return self._engine.find(spec.name)
        except UnavailableError as error:
            self._reporter.say(Condition("Transforming", "False", "EngineUnavailable", str(error)), now=True)
            raise

    def _first(self, digest: str, options: str) -> Job:
        """Nothing ran before: what may lie in the job's topic is none of ours."""
        end = self._log.topic(self._output).end_offset
        return Job(digest, options, start=end, reached=end, begin=self._starts())

    def _starts(self) -> dict[str, int]:
        """Where a query without a state begins, by input."""
        if self._options.start_ms is None:
            return {}
        return {one.name: start_offset(self._log, one.topic, self._options) for one in self._options.streams}

    def _replaced(self, job: Job, status: JobStatus | None, digest: str, options: str) -> Job:
        """Ends the job of another graph, takes in what it had finished, and says where the new one begins."""
        self._reporter.say(Condition("Transforming", "False", "Replacing", "the query changed"), now=True)
        if status is not None:
            job = self._stop(job, status)
        self._take_in_the_last(job)
        end = self._log.topic(self._output).end_offset
        fresh = Job(digest, options, start=end, reached=end, restarts=job.restarts)
        if self._carry == "same":  # the same query, written for the engine in another way: its rows come once more
            return msgspec.structs.replace(
                fresh, start=job.start, begin=job.begin, again_from=job.start, again_to=end, reached=job.start
            )
        if self._carry == "on":
            return msgspec.structs.replace(fresh, begin=self._places())
        return msgspec.structs.replace(fresh, begin=self._starts())

    def _places(self) -> dict[str, int]:
        """How far the former query, which kept no state, came in each input."""
        assert self._spec is not None
        read = {one.name: self._log.offset(self.name, one.topic) for one in self._options.streams}
        return {name: max(read[name], self._counts["furthest"] + 1) for name in self._spec.plan.inputs}

    def _take_in_the_last(self, job: Job) -> None:
        """What the former query had finished when it was ended, read as that query's; as far as it can still be understood."""
        running, spec = read_running(self._log, self.name), self._spec
        before = running.spec_among(spec.query) if running is not None and spec is not None else None
        if before is None or running is None:
            return
        try:
            former = self._job_of(before, self._engine.plan(before))
        except InvalidQueryError:  # by another version of this engine: what it finished is read again as its inputs are
            return
        if former.plan.digest != running.digest:
            return
        self._job = job
        while self._collect(former):
            pass

    def _stop(self, job: Job, status: JobStatus) -> Job:
        if status.state in ("running", "starting", "restarting"):
            place = self._engine.stop(status.job_id)
            reached = self._log.topic(self._output).end_offset
            job = msgspec.structs.replace(job, checkpoint=place, reached=reached, job_id="", again_from=0, again_to=0)
        else:
            job = msgspec.structs.replace(job, job_id="")
        self._keep(job)
        return job

    def _keep_stopped(self, job: Job) -> None:
        try:
            status = self._engine.status(job.job_id)
            if status is not None:
                self._stop(job, status)
        except UnavailableError as error:  # it runs on, and is found again by its name
            self._reporter.say(Condition("Transforming", "Unknown", "NotStopped", str(error)), now=True)

    def _start(self, spec: JobSpec, job: Job, options: str, ended: JobStatus | None) -> JobStatus | None:
        if job.job_id or ended is not None:
            # It was lost: behind its checkpoint it may write again what lies there already.
            end = self._log.topic(self._output).end_offset
            job = msgspec.structs.replace(
                job, job_id="", again_from=job.reached, again_to=end, restarts=job.restarts + 1
            )
        self._again = None
        job = msgspec.structs.replace(job, options=options)
        spec = replace(spec, options=replace(spec.options, offsets=job.begin))
        self._keep(job)
        failpoint("transform.submit.before")
        try:
            job_id = self._engine.submit(spec, job.checkpoint or None)
        except NotFoundError as error:
            self._reporter.say(Condition("Transforming", "False", "CheckpointGone", str(error)), now=True)
            raise
        except InvalidQueryError as error:
            self._reporter.say(Condition("Transforming", "False", "QueryRefused", str(error)), now=True)
            raise
        except UnavailableError as error:
            self._reporter.say(Condition("Transforming", "False", "EngineUnavailable", str(error)), now=True)
            raise
        failpoint("transform.submit.after")
        self._keep(msgspec.structs.replace(job, job_id=job_id))
        return self._engine.status(job_id)

    def _note_checkpoint(self, status: JobStatus | None) -> None:
        """Keeps the newest checkpoint with a place in the job's topic that it covers: where the topic ended at some look before it
        completed. The cluster may tell of it seconds later, so that its age counts.
        """
        job = self._job
        if job is None or status is None or not status.checkpoint or status.checkpoint == job.checkpoint:
            return
        completed = self._clock.now_ms() - (status.checkpoint_age_ms or 0)
        covered = [end for moment, end in self._ends if moment <= completed]
        self._ends = [one for one in self._ends if one[0] > completed - KEPT_MS]
        self._keep(
            msgspec.structs.replace(job, checkpoint=status.checkpoint, reached=max([job.reached, job.start, *covered]))
        )

    def _say(self, status: JobStatus | None) -> None:
        if status is None:
            condition = Condition("Transforming", "False", "Starting", "the job is being started")
        elif status.state != "running":
            condition = Condition("Transforming", "False", status.state.capitalize(), status.message)
        elif (age := status.checkpoint_age_ms) is not None and age > max(
            10_000, SLOW_CHECKPOINTS * self._options.checkpoint_interval_ms
        ):
            message = f"the last checkpoint completed {age / 1000:.0f} s ago; rows appear when one completes. {status.message}"
            condition = Condition("Transforming", "True", "CheckpointsLate", message.strip())
        elif status.back_pressure > BACK_PRESSURE:
            message = f"a task waits {status.back_pressure:.0%} of its time for the one behind it; raise parallelism"
            condition = Condition("Transforming", "True", "BackPressure", message)
        else:
            lacking = table_notes(self._inputs.tables)
            notes = (*(self._notes or ()), *(self._spec.plan.notes if self._spec else ()), *lacking)
            condition = Condition("Transforming", "True", "Running", "; ".join(notes))
        self._reporter.say(condition, progress=self._progress(status))

    def _progress(self, status: JobStatus | None) -> dict[str, int | float | str]:
        progress: dict[str, int | float | str] = {name: self._counts[name] for name in ("rows", "late", "ends")}
        if status is not None:
            progress |= {
                "job": status.job_id, "jobState": status.state, "restarts": status.restarts + (self._job.restarts if self._job else 0),
                "checkpoints": status.checkpoints, "failedCheckpoints": status.failed_checkpoints,
                "backPressure": round(status.back_pressure, 2),
            }  # fmt: skip
            if status.checkpoint_age_ms is not None:
                progress["checkpointAgeMs"] = status.checkpoint_age_ms
        return progress

    # --- what it wrote ---

    def _collect(self, spec: JobSpec) -> bool:
        records = self._log.read(self._output, self._offset, max_records=MAX_RECORDS)
        if not records:
            return False
        output = self._engine.read_output(spec, self._new(records))
        if output.signs:
            # Rows that a sign's watermark let go of lie in the transaction of the sign, before it or behind it: all of it is there.
            while more := self._log.read(self._output, records[-1].offset + 1, max_records=MAX_RECORDS):
                records += more
            output = self._engine.read_output(spec, self._new(records))
        self._commit(spec, output, records[-1].offset + 1)
        return True

    def _new(self, records: list[Record]) -> list[Record]:
        """Without what a job of a former graph wrote, and what a job wrote once more after it was started from an older checkpoint."""
        job = self._job
        assert job is not None
        records = [record for record in records if record.offset >= job.start]
        if job.again_to <= job.again_from or not records or records[-1].offset < job.again_to:
            return records
        if self._again is None:
            self._again = self._written(job.again_from, job.again_to)
        return [one for one in records if one.offset < job.again_to or _identity(one) not in self._again]

    def _written(self, start: int, end: int) -> set[bytes]:
        found: set[bytes] = set()
        offset = start
        while records := self._log.read(self._output, offset, max_records=MAX_RECORDS):
            found.update(_identity(record) for record in records if record.offset < end)
            offset = records[-1].offset + 1
            if offset >= end:
                break
        return found

    def _commit(self, spec: JobSpec, output: JobOutput, offset: int) -> None:
        rows = batch_to_records(output.rows) if output.rows is not None and output.rows.num_rows else []
        late = self._late_records(output)
        ended, counts = set(self._ended), dict(self._counts)
        counts["rows"] += len(rows)
        counts["late"] += len(late)
        counts["latest"] = max([counts["latest"], *(row.event_time for row in rows)])
        counts["furthest"] = max(counts["furthest"], output.furthest)
        signs = self._signs(output.signs, spec, ended, counts)
        bindings = {one.name: one for one in self._options.streams}
        read = {sign.input: sign.offset + 1 for sign in output.signs}
        appends = [Append(self._rows, [*rows, *signs]), Append(self._late, late)]
        offsets = [GroupOffset(self.name, self._output, offset, hold=self._hold(offset))]
        offsets += [GroupOffset(self.name, bindings[name].topic, reached) for name, reached in read.items()]
        failpoint("transform.commit.before")
        self._log.commit(
            Commit(
                appends=[append for append in appends if append.records],
                offsets=offsets,
                state={
                    StateKey(self.name, "counts"): msgspec.json.encode(counts),
                    StateKey(self.name, "ended"): msgspec.json.encode(sorted(ended)),
                },
                lease=self._lease,
            )
        )
        failpoint("transform.commit.after")
        self._offset, self._counts, self._ended = offset, counts, ended
        if self._status is not None:
            self._say(self._status)

    def _hold(self, offset: int) -> int:
        """What may have to be read again, to know what a restarted job wrote before."""
        return min(offset, self._job.reached, self._job.again_from or offset) if self._job else offset

    def _signs(
        self,
        signs: Sequence[JobSign],
        spec: JobSpec,
        ended: set[str],
        counts: dict[str, int],
    ) -> list[NewRecord]:
        """Hands the end on once every input has ended, behind the last windows' rows."""
        found: list[NewRecord] = []
        for sign in signs:
            if sign.sign != "end":
                continue
            ended.add(sign.input)
            if ended >= set(spec.plan.inputs):
                counts["ends"] += 1
                record_id = derive_id(self.name, "end", counts["ends"])
                found.append(control_record(record_id, Control("end", self._options.finetuner), counts["latest"]))
        return found[-1:]

    def _late_records(self, output: JobOutput) -> list[NewRecord]:
        """The late rows as they came, with their place; by how much stands in the origin's position."""
        bindings = {one.name: one for one in self._options.streams}
        return [self._late_record(bindings[row.input], row) for row in output.late]

    def _late_record(self, binding: StreamBinding, row: JobLateRow) -> NewRecord:
        found = self._log.read(binding.topic, row.offset, max_records=1)
        if not found or found[0].offset != row.offset:
            raise NotFoundError(
                f"the late row at {row.offset} of {binding.topic} is gone", next_step="lengthen the topic's retention"
            )
        record = found[0]
        origin = Origin(topic=binding.topic, offset=row.offset, id=record.id, position=f"late by {row.by_ms} ms")
        return NewRecord(
            record.id, codec.ROW, record.value, record.event_time, record.key, encode_origin(origin), record.ingested_at
        )

    # --- state ---

    def _keep(self, job: Job) -> None:
        if job == self._job:
            return
        state: dict[StateKey, bytes | None] = {StateKey(self.name, "job"): msgspec.json.encode(job)}
        if self._carry != "same" and (self._job is None or self._job.digest != job.digest):
            state |= self._begun()
        self._log.commit(Commit(state=state, lease=self._lease))
        self._job = job

    def _begun(self) -> dict[StateKey, bytes | None]:
        """From here on it is the new query that runs."""
        assert self._spec is not None
        self._counts["furthest"] = -1
        if self._carry == "anew":
            self._ended = set()
        values = {
            "plan": msgspec.json.encode(RunningQuery.of(self._spec.query, self._spec.plan)),
            "counts": msgspec.json.encode(self._counts),
            "ended": msgspec.json.encode(sorted(self._ended)),
        }
        return {StateKey(self.name, key): value for key, value in values.items()}

    def _load(self) -> None:
        saved = self._log.state(self.name)
        if "counts" in saved:
            self._counts |= msgspec.json.decode(saved["counts"].value, type=dict[str, int])
        if "ended" in saved:
            self._ended = set(msgspec.json.decode(saved["ended"].value, type=list[str]))
        if "job" in saved:
            self._job = msgspec.json.decode(saved["job"].value, type=Job)


def _text(options: JobOptions) -> str:
    return f"parallelism {options.parallelism}, a checkpoint every {options.checkpoint_interval_ms} ms"


def _identity(record: Record) -> bytes:
    """Equal for the same row written twice, and for no others: a value holds the window or the offset that its row comes from. The
    record's time is when it was written.
    """
    return hashlib.blake2b(record.value, digest_size=16).digest()
