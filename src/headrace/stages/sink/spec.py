"""One sink, described and opened."""

from headrace.events import topics
from headrace.events.dead_records import DEAD_RETENTION_MS
from headrace.log.topic_log import TopicSpec
from headrace.stages.context import StageContext
from headrace.stages.sink.options import SinkStageOptions
from headrace.stages.stage import Stage
from headrace.stages.stage_spec import Read, StageSpec
from headrace.stages.stage_type import StageType


def sink_spec(options: SinkStageOptions) -> StageSpec:
    """Of a sink StreamConnector. It shares the process of ingest: both wait for the outside most of the time."""
    dead = TopicSpec(topics.dead(options.sink.id), retention_ms=DEAD_RETENTION_MS)
    return StageSpec("sink", options.sink.id, options, reads=(Read(options.topic),), writes=(dead,), role="ingest")


def _open(spec: StageSpec, context: StageContext) -> Stage:
    from headrace.stages.sink.stage import SinkStage

    assert isinstance(spec.options, SinkStageOptions)
    return SinkStage(spec.options, context.log, context.holder, context.clock)


STAGE = StageType(_open)
