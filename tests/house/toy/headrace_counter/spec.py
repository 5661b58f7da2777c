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

    connector: str
    step: int


def count_spec(owner: ResourceId, options: CountOptions) -> StageSpec:
    """Of a Counter."""
    events = topics.events(owner.namespace, options.connector)
    return StageSpec("count", owner, options, reads=(Read(events),), writes=(TopicSpec(f"{owner.path_name}.counts"),))


def _open(spec: StageSpec, context: StageContext) -> Stage:
    from headrace_counter.stage import CountStage

    return CountStage(spec, context)


STAGE = StageType(_open)
