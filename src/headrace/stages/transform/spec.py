"""One stream query, described and opened."""

from typing import TYPE_CHECKING

from headrace.events import topics
from headrace.log.topic_log import ExternalTable, TopicSpec
from headrace.stages.context import Backends, StageContext
from headrace.stages.stage import Stage, take_lease
from headrace.stages.stage_spec import Read, StageSpec
from headrace.stages.stage_type import StageType
from headrace.stages.transform.options import TransformOptions

if TYPE_CHECKING:
    from headrace.streams.stream_job import StreamJobEngine


def transform_spec(options: TransformOptions) -> StageSpec:
    """Of the resource that owns the query."""
    return StageSpec(
        "transform",
        options.id,
        options,
        reads=tuple(Read(one.topic) for one in options.streams),
        passes=(topics.job(options.id),),
        writes=topics_of(options),
    )


def topics_of(options: TransformOptions) -> tuple[TopicSpec, ...]:
    """Rows, late rows, dead letters."""
    owner = options.id
    return (
        TopicSpec(topics.rows(owner), retention_ms=options.retention_ms),
        TopicSpec(topics.late(owner), retention_ms=options.late_retention_ms),
        TopicSpec(topics.stage_dead(owner, "transform"), retention_ms=options.dead_retention_ms),
    )


def _open(spec: StageSpec, context: StageContext) -> Stage:
    """In this process, or as a job on the engine's cluster. Examples of a finetuner are no canonical rows: queries over them stay here."""
    from headrace.stages.transform.job import TransformJobStage
    from headrace.stages.transform.stage import TransformStage
    from headrace.streams.registry import open_job_engine

    options, backends = spec.options, context.backends
    assert isinstance(options, TransformOptions)
    jobs = open_job_engine(backends.streams, backends.stream_options)
    if jobs is None:
        return TransformStage(options, context.log, context.holder, context.clock, engine=backends.streams)
    if any(one.finetuner for one in options.streams):
        return TransformStage(options, context.log, context.holder, context.clock)
    return TransformJobStage(options, context.log, context.holder, jobs, context.clock, suspend=backends.suspend_jobs)


def _runs_elsewhere(_spec: StageSpec, backends: Backends) -> bool:
    from headrace.streams.registry import open_job_engine

    return open_job_engine(backends.streams, backends.stream_options) is not None


def _suspend(spec: StageSpec, context: StageContext) -> None:
    """Stops the query's job with a savepoint, from which it resumes once its resource is applied again."""
    from headrace.stages.transform.running_job import suspend_job

    lease = take_lease(context.log, spec.name, context.holder)
    if found := _job_of(spec, context):
        engine, output, table = found
        suspend_job(context.log, engine, lease, output, table.topic)


def _job_of(spec: StageSpec, context: StageContext) -> "tuple[StreamJobEngine, str, ExternalTable] | None":
    """The engine of a cluster, the topic that the query's job writes, and what it is on the cluster; None: it never ran as a job."""
    from headrace.streams.registry import open_job_engine

    options, log = spec.options, context.log
    assert isinstance(options, TransformOptions)
    jobs = open_job_engine(context.backends.streams, context.backends.stream_options)
    output = topics.job(options.id)
    is_known = any(info.spec.name == output for info in log.topics())
    table = log.external_table(output) if jobs is not None and is_known else None
    return (jobs, output, table) if jobs is not None and table is not None else None


def _purge(spec: StageSpec, context: StageContext) -> int:
    """Ends the query's job, where one runs on an engine's own cluster, and takes its topics away."""
    from headrace.stages.transform.running_job import discard_job

    options, log = spec.options, context.log
    assert isinstance(options, TransformOptions)
    if found := _job_of(spec, context):
        engine, _, table = found
        discard_job(log, engine, spec.name, table.topic)
    output = topics.job(options.id)
    tables = topics.tables_prefix(options.id)
    known = [info.spec.name for info in log.topics()]
    return sum(log.delete_topic(name).bytes or 0 for name in known if name == output or name.startswith(tables))


def _empty(spec: StageSpec, context: StageContext, *, starts: bool) -> None:  # noqa: ARG001 - a job keeps the same wherever a reset begins
    """The job ends with its savepoints, and what it wrote goes: it starts again from nothing."""
    _purge(spec, context)


STAGE = StageType(_open, empty=_empty, purge=_purge, runs_elsewhere=_runs_elsewhere, suspend=_suspend)
