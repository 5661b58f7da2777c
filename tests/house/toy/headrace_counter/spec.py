"""One counter's stage, described and opened."""

from dataclasses import dataclass

from headrace.events import topics
from headrace.foundation.resource_id import ResourceId
from headrace.log.topic_log import TopicSpec
from headrace.stages.context import StageContext
from headrace.stages.stage import Stage
from headrace.stages.stage_spec import Read, StageSpec
from headrace.stages.stage_type import StageType


@dataclass(frozen=True, slots=True)
class CountOptions:
    """What is counted."""

    id: ResourceId
    source: ResourceId
    step: int


def count_spec(options: CountOptions) -> StageSpec:
    """Of a Counter."""
    events, counts = topics.events(options.source), TopicSpec(f"{options.id.path_name}.counts")
    return StageSpec("count", options.id, options, reads=(Read(events),), writes=(counts,))


def _open(spec: StageSpec, context: StageContext) -> Stage:
    from headrace_counter.stage import CountStage

    return CountStage(spec, context)


STAGE = StageType(_open)
