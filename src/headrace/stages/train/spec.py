"""One learner, described and opened."""

from headrace.events import topics
from headrace.log.topic_log import Commit, TopicSpec
from headrace.stages.context import StageContext
from headrace.stages.stage import Stage
from headrace.stages.stage_spec import Read, StageSpec
from headrace.stages.stage_type import StageType
from headrace.stages.train.options import TrainOptions


def train_spec(options: TrainOptions) -> StageSpec:
    """Of a finetuner. Each is a process of its own, so that its limits are its own."""
    finetuner = options.id
    return StageSpec(
        "train",
        finetuner,
        options,
        reads=(Read(topics.examples(finetuner)), Read(topics.commands(finetuner), until="caught up")),
        writes=topics_of(options),
        shares=(TopicSpec(topics.commands(finetuner)),),
        holds=(f"versions/{finetuner.path_name}", f"checkpoints/{finetuner.path_name}"),
        partition=finetuner.path_name,
        limits=options.limits,
    )


def topics_of(options: TrainOptions) -> tuple[TopicSpec, ...]:
    """Scores, decisions, dead letters."""
    finetuner = options.id
    return (
        TopicSpec(topics.scores(finetuner), retention_ms=options.retention_ms),
        TopicSpec(topics.decisions(finetuner)),
        TopicSpec(topics.stage_dead(finetuner, "train"), retention_ms=options.dead_retention_ms),
    )


def _open(spec: StageSpec, context: StageContext) -> Stage:
    from headrace.stages.train.stage import TrainStage

    assert isinstance(spec.options, TrainOptions)
    return TrainStage(spec.options, context.log, context.holder, context.state, context.clock)


def _purge(spec: StageSpec, context: StageContext) -> int:
    """The registry of its versions; their folders are in `holds`."""
    from headrace.promotion.registry import registry_key

    context.log.commit(Commit(state={registry_key(spec.id): None}))
    return 0


STAGE = StageType(_open, purge=_purge)
