"""What makes examples of prompts, described and opened."""

from headrace.events import topics
from headrace.log.topic_log import TopicSpec
from headrace.stages.context import StageContext
from headrace.stages.label.options import LabelOptions
from headrace.stages.stage import Stage
from headrace.stages.stage_spec import Read, StageSpec
from headrace.stages.stage_type import StageType


def label_spec(options: LabelOptions) -> StageSpec:
    """Of a finetuner."""
    reads = (Read(topics.prompts(options.id)),)
    return StageSpec("label", options.id, options, reads=reads, writes=topics_of(options))


def topics_of(options: LabelOptions) -> tuple[TopicSpec, ...]:
    """Examples, dead letters."""
    return (
        TopicSpec(topics.examples(options.id), retention_ms=options.retention_ms),
        TopicSpec(topics.stage_dead(options.id, "label"), retention_ms=options.dead_retention_ms),
    )


def _open(spec: StageSpec, context: StageContext) -> Stage:
    from headrace.stages.label.stage import LabelStage

    assert isinstance(spec.options, LabelOptions)
    return LabelStage(spec.options, context.log, context.holder, context.state, context.clock)


def _empty(spec: StageSpec, context: StageContext, *, starts: bool) -> None:
    """A reset of the labels asks again, so the answers that are kept go; a reset further up uses them. What was spent stays."""
    if starts:
        _forget(spec, context, spending=False)


def _purge(spec: StageSpec, context: StageContext) -> int:
    """The teacher's answers and the account."""
    return _forget(spec, context, spending=True)


def _forget(spec: StageSpec, context: StageContext, *, spending: bool) -> int:
    from headrace.teachers.answer_store import forget

    return forget(context.state / "teachers.sqlite", spec.id, spending=spending)


STAGE = StageType(_open, empty=_empty, purge=_purge)
