"""One finetuner's mirror, described and opened."""

from headrace.events import topics
from headrace.foundation.resource_id import ResourceId
from headrace.stages.context import StageContext
from headrace.stages.mirror.options import MirrorOptions
from headrace.stages.stage import Stage
from headrace.stages.stage_spec import Read, StageSpec
from headrace.stages.stage_type import StageType


def mirror_spec(owner: ResourceId) -> StageSpec:
    """Of a finetuner."""
    reads = (Read(topics.scores(owner.namespace, owner.name)), Read(topics.decisions(owner.namespace, owner.name)))
    return StageSpec("mirror", owner, MirrorOptions(owner.namespace, owner.name), reads=reads)


def _open(spec: StageSpec, context: StageContext) -> Stage:
    from headrace.stages.mirror.stage import MirrorStage

    assert isinstance(spec.options, MirrorOptions)
    return MirrorStage(spec.options, context.log, context.holder, context.state, context.clock)


STAGE = StageType(_open)
