"""One source's ingest, described and opened."""

from headrace.events import topics
from headrace.events.dead_records import DEAD_RETENTION_MS
from headrace.log.topic_log import TopicSpec
from headrace.stages.context import StageContext
from headrace.stages.ingest.options import IngestOptions
from headrace.stages.stage import Stage
from headrace.stages.stage_spec import Read, StageSpec
from headrace.stages.stage_type import IdleQuestion, StageType


def ingest_spec(options: IngestOptions) -> StageSpec:
    """Of a source StreamConnector."""
    source = options.source
    inbox = (Read(topics.inbox(source.id), until="caught up"),) if options.pushed else ()
    return StageSpec("ingest", source.id, options, reads=inbox, writes=topics_of(options))


def topics_of(options: IngestOptions) -> tuple[TopicSpec, ...]:
    """Events, dead letters."""
    source = options.source
    return (
        TopicSpec(
            topics.events(source.id),
            retention_ms=options.retention_ms,
            unique_ids=options.unique_ids,
            compacted=bool(options.documents_by),
        ),
        TopicSpec(topics.dead(source.id), retention_ms=DEAD_RETENTION_MS),
    )


def _open(spec: StageSpec, context: StageContext) -> Stage:
    from headrace.stages.ingest.stage import IngestStage

    assert isinstance(spec.options, IngestOptions)
    return IngestStage(spec.options, context.log, context.holder, context.clock)


def _is_idle(spec: StageSpec, question: IdleQuestion) -> bool:
    """Rows must have ended. Documents are watched without end: one complete read is enough."""
    from headrace.stages.ingest.stage import caught_up, finished

    assert isinstance(spec.options, IngestOptions)
    source, written = spec.options.source, {one.name for one in spec.writes}
    readers = [read for one in question.specs for read in one.reads if read.topic in written]
    if readers and all(read.until == "caught up" for read in readers):
        return caught_up(question.log, source.id, question.holder)
    return finished(question.log, source.id, question.holder)


STAGE = StageType(_open, is_idle=_is_idle)
