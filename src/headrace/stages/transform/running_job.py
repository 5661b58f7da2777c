"""What a transform stage keeps of its job on an engine's own cluster, and what of it lies on that cluster."""

import msgspec

from headrace.log.topic_log import Commit, Lease, StateKey, TopicLog
from headrace.streams.stream_job import JobStatus, StreamJobEngine


class Job(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is kept of the job."""

    digest: str
    """Of its graph."""
    options: str
    """How it was run; another way of running it takes its state over."""
    job_id: str = ""
    checkpoint: str = ""
    """Where its newest completed checkpoint, or savepoint, lies."""
    started_from: str = ""
    """The savepoint, or the checkpoint of a lost job, that it was started from; deleted once it has a newer one. Empty: none is left."""
    unwanted: list[str] = []
    """Savepoints and checkpoints of former jobs that are still to be deleted."""
    reached: int = 0
    """The place in the job's topic up to which was written before that checkpoint completed."""
    again_from: int = 0
    again_to: int = 0
    """Rows written here may be written once more behind `again_to`, by the job that was started from an older checkpoint."""
    restarts: int = 0
    """How often it was started again."""
    start: int = 0
    """The place in the job's topic at which this graph's output begins."""
    begin: dict[str, int] = {}
    """Where it began in its inputs, by input; one that is left out was read from its start."""

    def superseded(self, checkpoint: str, reached: int) -> "Job":
        """With a newer checkpoint of its own: what it was started from is wanted no longer."""
        gone = [one for one in (self.started_from,) if one and one != checkpoint]
        return msgspec.structs.replace(
            self, checkpoint=checkpoint, reached=reached, unwanted=[*self.unwanted, *gone],
            started_from="" if gone else self.started_from,
        )  # fmt: skip

    @property
    def places(self) -> list[str]:
        """Every savepoint and checkpoint that may lie on the cluster."""
        return list(dict.fromkeys(one for one in (*self.unwanted, self.started_from, self.checkpoint) if one))


def job_key(stage: str) -> StateKey:
    """Where a transform stage keeps it."""
    return StateKey(stage, "job")


def read_job(log: TopicLog, stage: str) -> Job | None:
    """The job that a transform stage runs, or ran last."""
    entry = log.state(stage, "job").get("job")
    return msgspec.json.decode(entry.value, type=Job) if entry else None


def stopped(log: TopicLog, engine: StreamJobEngine, job: Job, status: JobStatus, output: str) -> Job:
    """The job as it is kept once it has stopped with a savepoint, from which it resumes. `output`: its topic."""
    if status.state not in ("running", "starting", "restarting"):
        return msgspec.structs.replace(job, job_id="")
    place = engine.stop(status.job_id)
    job = job.superseded(place, log.topic(output).end_offset)
    return msgspec.structs.replace(job, job_id="", again_from=0, again_to=0)


def suspend_job(log: TopicLog, engine: StreamJobEngine, lease: Lease, output: str, name: str) -> None:
    """Stops the job of a stage that no longer runs, with a savepoint. UnavailableError: the cluster cannot be reached.

    `lease`: the stage's, so that nobody else runs it. `name`: of the job on the cluster.
    """
    job, status = read_job(log, lease.role), engine.find(name)
    if job is None or status is None:
        return
    kept = msgspec.json.encode(stopped(log, engine, job, status, output))
    log.commit(Commit(state={job_key(lease.role): kept}, lease=lease))


def discard_job(log: TopicLog, engine: StreamJobEngine, stage: str, name: str) -> int:
    """Ends a job for good, with all its savepoints and checkpoints; gives how many those were. The query begins at its start if it is declared again.

    `name`: of the job on the cluster. UnavailableError: the cluster cannot be reached.
    """
    job, status = read_job(log, stage), engine.find(name)
    places = list(job.places) if job else []
    if status is not None:
        places += [status.checkpoint] if status.checkpoint and status.checkpoint not in places else []
        engine.cancel(status.job_id)
    for place in places:
        engine.discard(place)
    if job is not None:
        log.commit(Commit(state={job_key(stage): None}))
    return len(places)
