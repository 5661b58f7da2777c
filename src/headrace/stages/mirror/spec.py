"""One finetuner's mirror, described and opened."""

from headrace.events import topics
from headrace.stages.context import StageContext
from headrace.stages.mirror.options import MirrorOptions
from headrace.stages.stage import Stage
from headrace.stages.stage_spec import Read, StageSpec
from headrace.stages.stage_type import StageType


def mirror_spec(options: MirrorOptions) -> StageSpec:
    """Of a finetuner."""
    reads = (Read(topics.scores(options.id)), Read(topics.decisions(options.id)))
    return StageSpec("mirror", options.id, options, reads=reads)


def _open(spec: StageSpec, context: StageContext) -> Stage:
    from headrace.stages.mirror.stage import MirrorStage

    assert isinstance(spec.options, MirrorOptions)
    return MirrorStage(spec.options, context.log, context.holder, context.state, context.clock)


STAGE = StageType(_open)
