"""The port to an engine that runs queries on a cluster of its own.

Such an engine reads canonical topics and writes one topic on its own, exactly once; a stage watches the job,
reads what it wrote and makes canonical records of it. Ids, origins and the canonical JSON form are therefore made in one place
for all engines.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from headrace.events.row_batch import RowBatch
from headrace.log.record import Record
from headrace.log.topic_log import ExternalTable
from headrace.streams.stream_engine import EngineCapabilities, QueryPlan, QuerySpec

JobState = Literal["starting", "running", "restarting", "finished", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class JobOptions:
    """How a job runs."""

    parallelism: int = 1
    checkpoint_interval_ms: int = 1_000
    transaction_timeout_ms: int = 600_000
    """How long a transaction may stay open; longer than the outage that shall be survived."""
    offsets: Mapping[str, int] = field(default_factory=dict[str, int])
    """Where a job without a savepoint begins, by input; one that is left out is read from its start."""


@dataclass(frozen=True, slots=True)
class JobSpec:
    """A query, where it reads and where it writes."""

    name: str
    """Unique on the cluster, and kept over restarts: a running job is found again by it."""
    query: QuerySpec
    plan: QueryPlan
    inputs: Mapping[str, ExternalTable]
    """Canonical topics by input name."""
    tables: Mapping[str, ExternalTable]
    """Topics of static tables by name, written whole before the job starts: canonical rows, then an `end` sign."""
    output: ExternalTable
    """The topic that the job writes; it has no other writer."""
    options: JobOptions = field(default_factory=JobOptions)


@dataclass(frozen=True, slots=True)
class JobStatus:
    """A job as its cluster sees it."""

    job_id: str
    state: JobState
    restarts: int = 0
    checkpoint_age_ms: int | None = None
    """Since the last completed checkpoint; None: none yet."""
    checkpoints: int = 0
    """Completed so far."""
    failed_checkpoints: int = 0
    back_pressure: float = 0.0
    """Share of time that the busiest task waits for the one behind it, 0 to 1."""
    message: str = ""
    """Why it failed or restarted: the root cause's first line."""
    checkpoint: str = ""
    """Place of the newest completed checkpoint; before the first one, of what it was started from. Empty: there is none."""


@dataclass(frozen=True, slots=True)
class JobSign:
    """A sign that came through the job: everything before it in its input is in the output before, or in the same transaction."""

    input: str
    sign: Literal["end", "idle"]
    offset: int
    """In the input's topic."""


@dataclass(frozen=True, slots=True)
class JobLateRow:
    """A row of an input that came after its windows had closed."""

    input: str
    offset: int
    by_ms: int


@dataclass(frozen=True, slots=True)
class JobOutput:
    """What records of a job's output topic say."""

    rows: RowBatch | None
    """As QueryOutput.rows: ids, keys, origins, event times set."""
    late: Sequence[JobLateRow] = ()
    signs: Sequence[JobSign] = ()
    furthest: int = -1
    """Of a query without windows: the largest offset in its input of a row that came through; −1: there is none."""


class StreamJobEngine(Protocol):
    """Runs queries as jobs. All methods: UnavailableError where the cluster cannot be reached (try again)."""

    @property
    def capabilities(self) -> EngineCapabilities: ...

    def plan(self, spec: QuerySpec) -> QueryPlan:
        """As StreamEngine.plan, with the same digest. Needs no cluster."""
        ...

    def job_digest(self, job: JobSpec) -> str:
        """Of the job's graph: equal digests mean that a savepoint of one fits the other."""
        ...

    def submit(self, job: JobSpec, savepoint: str | None = None) -> str:
        """Starts it and gives its job id. InvalidQueryError: the cluster refuses the query (its message, mapped to the place in the
        user's SQL). NotFoundError: the savepoint is gone. UnavailableError also: no free slots.
        """
        ...

    def find(self, name: str) -> JobStatus | None:
        """The newest job of that name that is not at its end; None: there is none."""
        ...

    def status(self, job_id: str) -> JobStatus | None:
        """None: the cluster knows no such job."""
        ...

    def stop(self, job_id: str) -> str:
        """Stops it with a savepoint, waits until it has finished, and gives the savepoint's place."""
        ...

    def cancel(self, job_id: str) -> None:
        """Ends it without a savepoint; one that is gone already is no error."""
        ...

    def discard(self, place: str) -> None:
        """Deletes a savepoint or checkpoint that no job needs; one that is gone already is no error."""
        ...

    def check_resources(self, declared: Mapping[str, str]) -> Sequence[str]:
        """What the cluster lacks of the sizes that a query declares, by their keys in `dataProcessorTemplate`; a sentence each."""
        ...

    def read_output(self, job: JobSpec, records: Sequence[Record]) -> JobOutput:
        """Decodes records of the output topic, in order."""
        ...
