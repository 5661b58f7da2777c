"""The port on Flink: queries as jobs, by the SQL gateway and the JobManager alone."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from headrace.foundation.clock import SYSTEM_CLOCK
from headrace.foundation.errors import (
    InvalidQueryError,
    MissingExtraError,
    NotFoundError,
    UnavailableError,
)
from headrace.log.record import Record
from headrace.log.topic_log import ExternalTable
from headrace.streams.flink.errors import FlinkAnswerError
from headrace.streams.flink.gateway import SqlGateway
from headrace.streams.flink.job_manager import JobManager
from headrace.streams.flink.raw_rows import read_raw
from headrace.streams.flink.sql.job_sql import write_job
from headrace.streams.planning import describe
from headrace.streams.stream_engine import EngineCapabilities, QueryPlan, QuerySpec
from headrace.streams.stream_job import JobOptions, JobOutput, JobSpec, JobStatus
from headrace.streams.validate import plan_query

CAPABILITIES = EngineCapabilities(
    name="flink", in_process=False, shapes=frozenset({"stateless", "window", "rank", "join"})
)
START_SECONDS = 60.0
AT_CHECKPOINTS = "rows appear when a checkpoint completes"
_GONE = re.compile(r"FileNotFoundException|Cannot find (?:checkpoint|meta)|does not exist|No such file", re.IGNORECASE)
_NO_CONNECTOR = re.compile(r"Could not find any factor(?:y|ies) .*?'(?P<name>[\w-]+)'")


class FlinkEngine:
    """The port's `StreamJobEngine`."""

    def __init__(self, options: Mapping[str, str] | None = None) -> None:
        """`options`: gateway and jobmanager (addresses), savepoint_dir, `headers.NAME` of every request."""
        given = dict(options or {})
        headers = {name.removeprefix("headers."): value for name, value in given.items() if name.startswith("headers.")}
        self._gateway = SqlGateway(given.get("gateway", "http://127.0.0.1:8083"), headers)
        self._jobs = JobManager(given.get("jobmanager", "http://127.0.0.1:8081"), headers)
        self._savepoints = given.get("savepoint_dir")

    @property
    def capabilities(self) -> EngineCapabilities:
        return CAPABILITIES

    def plan(self, spec: QuerySpec) -> QueryPlan:
        plan = describe(spec, plan_query(spec), [AT_CHECKPOINTS])
        write_job(_rehearsal(spec, plan))  # refuses what Flink cannot give as other engines do
        return plan

    def job_digest(self, job: JobSpec) -> str:
        return write_job(job).digest

    def submit(self, job: JobSpec, savepoint: str | None = None) -> str:
        running = self._jobs.find(job.name)
        if running is not None:
            return running
        written = write_job(job)
        free, total = self._jobs.free_slots()
        if free < job.options.parallelism:
            raise UnavailableError(
                f"Flink has {free} of {total} task slots free and the job needs {job.options.parallelism}",
                where=self._jobs.address,
                next_step="give it more TaskManagers or slots, or lower dataProcessorTemplate.parallelism",
            )
        properties = {
            "pipeline.name": job.name,
            "parallelism.default": str(job.options.parallelism),
            "execution.checkpointing.interval": f"{job.options.checkpoint_interval_ms} ms",
            "execution.checkpointing.mode": "EXACTLY_ONCE",
            "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
            "execution.attached": "false",
            **({"execution.state-recovery.path": savepoint} if savepoint else {}),
            **written.settings,
        }
        try:
            rows = self._gateway.run_all(properties, [*written.statements, written.insert])
        except FlinkAnswerError as error:
            raise self._translated(error, job, savepoint) from error
        job_id = str(rows[0][0])
        self._await_start(job_id, savepoint)
        return job_id

    def find(self, name: str) -> JobStatus | None:
        job_id = self._jobs.find(name)
        return None if job_id is None else self._jobs.status(job_id)

    def status(self, job_id: str) -> JobStatus | None:
        return self._jobs.status(job_id)

    def stop(self, job_id: str) -> str:
        return self._jobs.stop(job_id, self._savepoints)

    def cancel(self, job_id: str) -> None:
        self._jobs.cancel(job_id)

    def read_output(self, job: JobSpec, records: Sequence[Record]) -> JobOutput:
        return read_raw(job, records)

    def _await_start(self, job_id: str, savepoint: str | None) -> None:
        """A job that cannot start is not left behind half-started."""
        deadline = SYSTEM_CLOCK.monotonic() + START_SECONDS
        while SYSTEM_CLOCK.monotonic() < deadline:
            status = self._jobs.status(job_id)
            if status is not None and status.state == "running":
                return
            if status is not None and status.state == "failed":
                if savepoint and _GONE.search(status.message):
                    raise _savepoint_gone(savepoint, status.message)
                raise UnavailableError(f"Flink could not start the job: {status.message}", where=self._jobs.address)
            SYSTEM_CLOCK.sleep(0.1)
        status = self._jobs.status(job_id)
        self._jobs.cancel(job_id)
        free, total = self._jobs.free_slots()
        reason = (status.message if status else "") or f"{free} of {total} task slots are free"
        raise UnavailableError(
            f"the job did not start within {START_SECONDS:.0f} s: {reason}",
            where=self._jobs.address,
            next_step="see Flink's own pages for the reason; it is tried again",
        )

    def _translated(self, error: FlinkAnswerError, job: JobSpec, savepoint: str | None) -> Exception:
        if savepoint and _GONE.search(error.trace):
            return _savepoint_gone(savepoint, error.message)
        if (found := _NO_CONNECTOR.search(error.trace)) is not None:
            return MissingExtraError(
                f"Flink has no connector or format {found['name']!r}",
                where=self._gateway.address,
                next_step="put flink-sql-connector-kafka and flink-json into its lib folder",
            )
        if re.search(
            r"ValidationException|SqlParserException|TableException|SqlValidatorException|CodeGenException", error.trace
        ):
            return InvalidQueryError(
                f"Flink refuses the query: {error.message}",
                where=_place(error.message, job),
                next_step="write it in another way",
            )
        return UnavailableError(f"Flink did not take the job: {error.message}", where=self._gateway.address)


def _savepoint_gone(savepoint: str, message: str) -> NotFoundError:
    return NotFoundError(
        f"the savepoint {savepoint} is gone: {message}",
        next_step="bring it back, or give the finetuner a new name, which reads its source anew",
    )


def _place(message: str, job: JobSpec) -> str | None:
    """Where in the person's SQL the first thing that the message quotes stands."""
    for word in re.findall(r"'([^']+)'", message):
        at = job.query.sql.lower().find(str(word).lower())
        if at >= 0:
            before = job.query.sql[:at]
            return f"line {before.count(chr(10)) + 1}, column {at - (before.rfind(chr(10)) + 1) + 1}"
    return None


def _rehearsal(spec: QuerySpec, plan: QueryPlan) -> JobSpec:
    """A job of the query over topics that need not be there."""
    table = ExternalTable("kafka", "rehearsal", {"bootstrap.servers": "rehearsal"})
    return JobSpec(
        "rehearsal", spec, plan, dict.fromkeys(plan.inputs, table), {one.name: table for one in spec.tables}, replace(table, topic="out"),
        JobOptions(),
    )  # fmt: skip
