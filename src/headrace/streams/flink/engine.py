"""Runs queries as jobs of an existing Flink cluster."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace

from headrace.foundation.clock import SYSTEM_CLOCK, Clock
from headrace.foundation.errors import (
    HeadraceError,
    InvalidDeclarationError,
    UnavailableError,
)
from headrace.log.record import Record
from headrace.log.topic_log import ExternalTable
from headrace.streams.flink.errors import FlinkAnswerError
from headrace.streams.flink.gateway import SessionLostError, SqlGateway
from headrace.streams.flink.job_manager import JobManager
from headrace.streams.flink.raw_rows import read_raw
from headrace.streams.flink.refusals import refused
from headrace.streams.flink.resources import resource_notes
from headrace.streams.flink.rest import Rest
from headrace.streams.flink.savepoints import check_savepoint
from headrace.streams.flink.sql.job_sql import JobSql, write_job
from headrace.streams.flink.sql.notes import job_notes
from headrace.streams.flink.statements import session_properties
from headrace.streams.planning import describe
from headrace.streams.stream_engine import EngineCapabilities, QueryPlan, QuerySpec
from headrace.streams.stream_job import JobOptions, JobOutput, JobSpec, JobStatus
from headrace.streams.validate import plan_query

CAPABILITIES = EngineCapabilities(
    name="flink", in_process=False, shapes=frozenset({"stateless", "window", "rank", "join"})
)
OPTIONS = frozenset({"gateway", "jobmanager", "savepoint_dir"})
GATEWAY, JOB_MANAGER = "http://127.0.0.1:8083", "http://127.0.0.1:8081"
CHECKPOINT_NOTE = "rows appear when a checkpoint completes"
SLOT_SECONDS = 30.0
"""How long a new job may wait for its slots."""
_PAUSE = 0.1


class FlinkEngine:
    """The port's `StreamJobEngine`.

    Options: `gateway` and `jobmanager` (URLs), `savepoint_dir` (as Flink's processes see it), `headers.NAME` (sent with every request).
    """

    def __init__(self, options: Mapping[str, str] | None = None, clock: Clock = SYSTEM_CLOCK) -> None:
        given = dict(options or {})
        headers = {key.removeprefix("headers."): value for key, value in given.items() if key.startswith("headers.")}
        if unknown := sorted(key for key in given if key not in OPTIONS and not key.startswith("headers.")):
            raise InvalidDeclarationError(
                f"the engine flink has no option {unknown[0]!r}",
                next_step=f"use {', '.join(sorted(OPTIONS))} or headers.NAME",
            )
        self._clock = clock
        self._gateway = SqlGateway(
            Rest("Flink's SQL gateway", given.get("gateway") or GATEWAY, headers, "flink"), clock
        )
        self.job_manager = JobManager(
            Rest("Flink's JobManager", given.get("jobmanager") or JOB_MANAGER, headers, "flink_jobmanager"), clock
        )
        self._savepoints = given.get("savepoint_dir")

    @property
    def capabilities(self) -> EngineCapabilities:
        return CAPABILITIES

    def plan(self, spec: QuerySpec) -> QueryPlan:
        logical = plan_query(spec)
        plan = describe(spec, logical, (*job_notes(logical), CHECKPOINT_NOTE))
        write_job(_rehearsal(spec, plan))  # refuses what Flink cannot give as other engines do
        return plan

    def job_digest(self, job: JobSpec) -> str:
        return write_job(job).digest

    def submit(self, job: JobSpec, savepoint: str | None = None) -> str:
        return self.submit_sql(job, write_job(job), savepoint)

    def submit_sql(self, job: JobSpec, written: JobSql, savepoint: str | None = None) -> str:
        """Starts a job from its statements, unless one of its name runs: then that one's id is given.

        The job's id is chosen here and taken once only by Flink, so that a submit whose answer was lost is never done twice.
        """
        if (running := self._running(job.name)) is not None:
            return running
        if savepoint is not None:
            check_savepoint(self.job_manager, savepoint)
        job_id = secrets.token_hex(16)
        properties = session_properties(job.name, job_id, job.options, savepoint) | dict(written.settings)
        self._need_slots(int(properties["parallelism.default"]))
        for attempt in range(2):
            try:
                self._run(job, written, properties, savepoint)
                break
            except SessionLostError:
                if self.job_manager.status(job_id) is not None:
                    break
                if attempt:
                    raise
            except UnavailableError:
                if self.job_manager.status(job_id) is None:
                    raise
                break
        self._await_slots(job, job_id, int(properties["parallelism.default"]), savepoint)
        return job_id

    def _run(self, job: JobSpec, written: JobSql, properties: Mapping[str, str], savepoint: str | None) -> None:
        with self._gateway.session(properties) as session:
            try:
                for statement in (*written.statements, written.insert):
                    session.run(statement)
            except FlinkAnswerError as error:
                raise refused(error.trace, job.query.sql, savepoint) from error

    def _running(self, name: str) -> str | None:
        """The id of a job of that name that runs. One that is about to end is waited for: two would write the same topic."""
        for one in self.job_manager.jobs(name):
            if one.state in {"CANCELLING", "FAILING"}:
                self.job_manager.cancel(one.job_id)
            elif not one.over:
                return one.job_id
        return None

    def _need_slots(self, needed: int) -> None:
        slots = self.job_manager.slots()
        if slots.free < needed and not self._grows():
            raise _no_slots(needed, slots.free, slots.total)

    def _grows(self) -> bool:
        """A cluster that starts TaskManagers as jobs need them."""
        keys = self.job_manager.configuration()
        return any(key.startswith(("kubernetes.cluster-id", "yarn.application")) for key in keys)

    def _await_slots(self, job: JobSpec, job_id: str, needed: int, savepoint: str | None) -> None:
        """Until each task has its slot. One that never gets it is cancelled, so that no half-started job is left behind."""
        deadline = self._clock.monotonic() + SLOT_SECONDS
        while (placing := self.job_manager.placing(job_id)) is not None:
            state, waiting = placing
            if state == "FAILED":
                raise refused(self.job_manager.failure(job_id), job.query.sql, savepoint)
            if state in {"FINISHED", "CANCELED"} or (state == "RUNNING" and waiting == 0):
                return
            if self._clock.monotonic() >= deadline:
                slots = self.job_manager.slots()
                self.job_manager.cancel(job_id)
                raise _no_slots(needed, slots.free, slots.total)
            self._clock.sleep(_PAUSE)
        raise UnavailableError(
            f"the JobManager no longer knows the job {job_id} that was just started", next_step="check its log"
        )

    def find(self, name: str) -> JobStatus | None:
        for one in self.job_manager.jobs(name):
            status = None if one.over else self.job_manager.status(one.job_id)
            if status is not None and status.state not in {"finished", "failed", "cancelled"}:
                return status
        return None

    def status(self, job_id: str) -> JobStatus | None:
        return self.job_manager.status(job_id)

    def stop(self, job_id: str) -> str:
        return self.job_manager.stop(job_id, self._savepoints)

    def cancel(self, job_id: str) -> None:
        self.job_manager.cancel(job_id)

    def discard(self, place: str) -> None:
        self.job_manager.dispose(place)

    def read_output(self, job: JobSpec, records: Sequence[Record]) -> JobOutput:
        return read_raw(job, records)

    def check_resources(self, declared: Mapping[str, str]) -> tuple[str, ...]:
        """What the cluster lacks of `processMemorySize`, `flinkMemorySize` and `managedMemorySize`, a sentence each."""
        return resource_notes(self.job_manager, declared)


def _no_slots(needed: int, free: int, total: int) -> HeadraceError:
    return UnavailableError(
        f"the job needs {needed} slot{'s' if needed > 1 else ''} and Flink has {free} free of {total}",
        next_step="add a TaskManager, raise taskmanager.numberOfTaskSlots, lower parallelism, or cancel another job",
        retry_after_seconds=5.0,
    )


def _rehearsal(spec: QuerySpec, plan: QueryPlan) -> JobSpec:
    """A job of the query over topics that need not be there."""
    table = ExternalTable("kafka", "rehearsal", {"bootstrap.servers": "rehearsal"})
    inputs, tables = dict.fromkeys(plan.inputs, table), {one.name: table for one in spec.tables}
    return JobSpec("rehearsal", spec, plan, inputs, tables, replace(table, topic="out"), JobOptions())
