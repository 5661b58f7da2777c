"""What makes prompts of rows, described and opened."""

from headrace.events import topics
from headrace.log.topic_log import TopicSpec
from headrace.stages.context import StageContext
from headrace.stages.prompt.options import PromptOptions
from headrace.stages.stage import Stage
from headrace.stages.stage_spec import Read, StageSpec
from headrace.stages.stage_type import StageType


def prompt_spec(options: PromptOptions) -> StageSpec:
    """Of a finetuner. It shares the process of `label`, which reads what it writes."""
    return StageSpec(
        "prompt",
        options.id,
        options,
        reads=(Read(topics.rows(options.id)),),
        writes=topics_of(options),
        role="label",
    )


def topics_of(options: PromptOptions) -> tuple[TopicSpec, ...]:
    """Prompts, dead letters."""
    return (
        TopicSpec(topics.prompts(options.id), retention_ms=options.retention_ms),
        TopicSpec(topics.stage_dead(options.id, "prompt"), retention_ms=options.dead_retention_ms),
    )


def _open(spec: StageSpec, context: StageContext) -> Stage:
    from headrace.stages.prompt.stage import PromptStage

    assert isinstance(spec.options, PromptOptions)
    return PromptStage(spec.options, context.log, context.holder, context.clock, state=context.state)


STAGE = StageType(_open)
