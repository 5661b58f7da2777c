"""transform for an engine with a cluster of its own: starts the query as a job, watches it, and replaces it when the query changes.

The job reads the canonical topics and writes one topic, `owner.job`, exactly once. `job_output` turns that topic into canonical
records; `job_inputs` tells how far the job has read, so that retention keeps the rest; `running_job` is the stored state.

When the query changes, the stage stops the job, takes in the output that it had finished, and starts the new query where
`running_query` says. When only parallelism or the checkpoint interval changes, the job stops with a savepoint and resumes from it. The
savepoint is deleted once the resumed job has a checkpoint of its own and that is committed.
"""

from collections.abc import Sequence
from dataclasses import replace

import msgspec

from headrace.events import topics
from headrace.foundation.clock import SYSTEM_CLOCK, Clock
from headrace.foundation.errors import InvalidDeclarationError, InvalidQueryError, NotFoundError, UnavailableError
from headrace.foundation.failpoints import failpoint
from headrace.log.topic_log import Commit, ExternalTable, StateKey, TopicLog, TopicSpec
from headrace.stages.stage import Condition, StageReporter, take_lease
from headrace.stages.transform.inputs import WAITING_FOR_SCHEMA, QueryInputs
from headrace.stages.transform.job_inputs import JobInputs
from headrace.stages.transform.job_output import JobOutputReader
from headrace.stages.transform.job_tables import write_tables
from headrace.stages.transform.options import TransformOptions
from headrace.stages.transform.running_job import Job, job_key, read_job, stopped
from headrace.stages.transform.running_query import (
    CARRIED,
    Carry,
    RunningQuery,
    read_running,
    settle,
    start_offset,
    state_key,
)
from headrace.stages.transform.spec import topics_of
from headrace.stages.transform.static_table import table_notes, write_table_letters
from headrace.streams.stream_engine import QueryPlan, QuerySpec
from headrace.streams.stream_job import JobOptions, JobSpec, JobStatus, StreamJobEngine

LOOK_SECONDS = 0.5
"""Between two looks at the job."""
KEPT_MS = 60_000
"""How far back looks at the job's topic are remembered."""
JOB_RETENTION_MS = 7 * 86_400_000
SLOW_CHECKPOINTS = 5
"""Checkpoints that may be missing before it is said."""
BACK_PRESSURE = 0.5


class TransformJobStage:
    """Owns `transform/NAMESPACE.OWNER`. The query's owner is the resource that declares it, such as a finetuner."""

    def __init__(
        self,
        options: TransformOptions,
        log: TopicLog,
        holder: str,
        engine: StreamJobEngine,
        clock: Clock = SYSTEM_CLOCK,
        *,
        suspend: bool = False,
    ) -> None:
        """`suspend`: closing the stage stops the job with a savepoint; otherwise the job keeps running."""
        owner = options.id
        self.name = f"transform/{owner.path_name}"
        self._options, self._log, self._clock, self._engine, self._suspend = options, log, clock, engine, suspend
        self._inputs = QueryInputs(options, log, clock)
        self._output = topics.job(owner)
        self._dead = topics.stage_dead(owner, "transform")
        for topic in topics_of(options):
            log.ensure_topic(topic)
        log.ensure_topic(TopicSpec(self._output, retention_ms=JOB_RETENTION_MS))
        self._lease = take_lease(log, self.name, holder)
        self._reporter = StageReporter(log, owner, "transform", clock)
        self._read_inputs = JobInputs(self.name, options, log)
        self._written = JobOutputReader(self.name, options, self._output, log, self._lease, engine, self._read_inputs)
        self._job: Job | None = read_job(log, self.name)
        self._spec: JobSpec | None = None
        self._carry: Carry = "resume"
        self._notes: Sequence[str] | None = None
        """How the query took over, and what the cluster lacks; None: not looked at yet."""
        self._status: JobStatus | None = None
        self._looked = -LOOK_SECONDS
        self._ends: list[tuple[int, int]] = []
        """(moment, where the job's topic ended), of the last looks"""

    def step(self) -> bool:
        if self._spec is None:
            self._spec = self._describe()
            if self._spec is None:
                return False
        job = self._look(self._spec)
        worked = self._written.collect(self._spec, job)
        if worked and self._status is not None:
            self._say(self._status)
        return worked

    def say_last(self) -> None:
        self._reporter.end(self._lease)

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

    def _look(self, spec: JobSpec) -> Job:
        """Makes sure that exactly one job of this graph runs; gives it."""
        now = self._clock.monotonic()
        if self._job is not None and now - self._looked < LOOK_SECONDS:
            return self._job
        self._looked = now
        self._read_inputs.look()
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
        self._discard_unwanted()
        assert self._job is not None
        return self._job

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
        """The first job of this stage: records that are already in its topic are not its own."""
        end = self._log.topic(self._output).end_offset
        return Job(digest, options, start=end, reached=end, begin=self._starts())

    def _starts(self) -> dict[str, int]:
        """Where a query without a state begins, by input."""
        if self._options.start_ms is None:
            return {}
        return {one.name: start_offset(self._log, one.topic, self._options) for one in self._options.streams}

    def _replaced(self, job: Job, status: JobStatus | None, digest: str, options: str) -> Job:
        """Stops the job of another graph, takes in what it had finished, and decides where the new one starts."""
        self._reporter.say(Condition("Transforming", "False", "Replacing", "the query changed"), now=True)
        if status is not None:
            job = self._stop(job, status)
        self._take_in_the_last(job)
        end = self._log.topic(self._output).end_offset
        fresh = Job(digest, options, start=end, reached=end, restarts=job.restarts, unwanted=job.places)
        if self._carry == "resume":  # the same query with another graph: its rows come once more
            return msgspec.structs.replace(
                fresh, start=job.start, begin=job.begin, again_from=job.start, again_to=end, reached=job.start
            )
        if self._carry == "continue":
            return msgspec.structs.replace(fresh, begin=self._places())
        return msgspec.structs.replace(fresh, begin=self._starts())

    def _places(self) -> dict[str, int]:
        """How far the previous query, which kept no state, read each input."""
        assert self._spec is not None
        read = {one.name: self._log.offset(self.name, one.topic) for one in self._options.streams}
        return {name: max(read[name], self._written.counts["furthest"] + 1) for name in self._spec.plan.inputs}

    def _take_in_the_last(self, job: Job) -> None:
        """Takes in what the previous query had finished, decoded as its output, if its plan can still be made."""
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
        while self._written.collect(former, job):
            pass

    def _stop(self, job: Job, status: JobStatus) -> Job:
        job = stopped(self._log, self._engine, job, status, self._output)
        self._keep(job)
        return job

    def _keep_stopped(self, job: Job) -> None:
        try:
            status = self._engine.status(job.job_id)
            if status is not None:
                self._stop(job, status)
        except UnavailableError as error:  # it keeps running and is found again by its name
            self._reporter.say(Condition("Transforming", "Unknown", "NotStopped", str(error)), now=True)

    def _start(self, spec: JobSpec, job: Job, options: str, ended: JobStatus | None) -> JobStatus | None:
        if job.job_id or ended is not None:
            # It was lost: from its checkpoint on it may write rows again that are already there.
            end = self._log.topic(self._output).end_offset
            job = msgspec.structs.replace(
                job, job_id="", again_from=job.reached, again_to=end, restarts=job.restarts + 1
            )
        self._written.job_changed()
        job = msgspec.structs.replace(job, options=options, started_from=job.checkpoint)
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
        if not status.checkpoints:  # what it was started from, perhaps written in another way
            return
        completed = self._clock.now_ms() - (status.checkpoint_age_ms or 0)
        covered = [end for moment, end in self._ends if moment <= completed]
        self._ends = [one for one in self._ends if one[0] > completed - KEPT_MS]
        self._keep(job.superseded(status.checkpoint, max([job.reached, job.start, *covered])))

    def _discard_unwanted(self) -> None:
        """Deletes savepoints and checkpoints behind the commit that no longer names them as the way back."""
        if self._job is None or not self._job.unwanted:
            return
        for place in self._job.unwanted:
            self._engine.discard(place)
        self._keep(msgspec.structs.replace(self._job, unwanted=[]))

    def _say(self, status: JobStatus | None) -> None:
        if status is None:
            condition = Condition("Transforming", "False", "Starting", "the job is starting")
        elif status.state != "running":
            condition = Condition("Transforming", "False", status.state.capitalize(), status.message)
        elif (age := status.checkpoint_age_ms) is not None and age > max(
            10_000, SLOW_CHECKPOINTS * self._options.checkpoint_interval_ms
        ):
            message = f"the last checkpoint completed {age / 1000:.0f} s ago; rows appear when one completes. {status.message}"
            condition = Condition("Transforming", "True", "CheckpointsLate", message.strip())
        elif status.back_pressure > BACK_PRESSURE:
            message = f"a task is blocked by the next one {status.back_pressure:.0%} of the time; raise parallelism"
            condition = Condition("Transforming", "True", "BackPressure", message)
        else:
            lacking = table_notes(self._inputs.tables)
            notes = (*(self._notes or ()), *(self._spec.plan.notes if self._spec else ()), *lacking)
            condition = Condition("Transforming", "True", "Running", "; ".join(notes))
        self._reporter.say(condition, progress=self._progress(status))

    def _progress(self, status: JobStatus | None) -> dict[str, int | float | str]:
        progress: dict[str, int | float | str] = {name: self._written.counts[name] for name in ("rows", "late", "ends")}
        if status is not None:
            progress |= {
                "job": status.job_id, "jobState": status.state, "restarts": status.restarts + (self._job.restarts if self._job else 0),
                "checkpoints": status.checkpoints, "failedCheckpoints": status.failed_checkpoints,
                "backPressure": round(status.back_pressure, 2),
            }  # fmt: skip
            if status.checkpoint_age_ms is not None:
                progress["checkpointAgeMs"] = status.checkpoint_age_ms
        return progress

    # --- state ---

    def _keep(self, job: Job) -> None:
        if job == self._job:
            return
        state: dict[StateKey, bytes | None] = {job_key(self.name): msgspec.json.encode(job)}
        begins = self._carry != "resume" and (self._job is None or self._job.digest != job.digest)
        if begins:
            state |= self._begun()
        holds = self._read_inputs.begin(job.begin) if begins else self._read_inputs.hold()
        self._log.commit(Commit(offsets=holds, state=state, lease=self._lease))
        self._job = job

    def _begun(self) -> dict[StateKey, bytes | None]:
        """The state that makes the new query the running one."""
        assert self._spec is not None
        running = RunningQuery.of(self._spec.query, self._spec.plan)
        return {
            state_key(self.name): msgspec.json.encode(running),
            **self._written.begin(restart=self._carry == "restart"),
        }


def _text(options: JobOptions) -> str:
    return f"parallelism {options.parallelism}, a checkpoint every {options.checkpoint_interval_ms} ms"
