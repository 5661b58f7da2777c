"""One learner, described and opened."""

from headrace.events import topics
from headrace.foundation.resource_id import ResourceId
from headrace.log.topic_log import Commit, TopicSpec
from headrace.stages.context import StageContext
from headrace.stages.stage import Stage
from headrace.stages.stage_spec import Read, StageSpec
from headrace.stages.stage_type import StageType
from headrace.stages.train.options import TrainOptions


def train_spec(owner: ResourceId, options: TrainOptions) -> StageSpec:
    """Of a finetuner. Each is a process of its own, so that its limits are its own."""
    namespace, name = options.namespace, options.finetuner
    return StageSpec(
        "train",
        owner,
        options,
        reads=(Read(topics.examples(namespace, name)), Read(topics.commands(namespace, name), until="caught up")),
        writes=topics_of(options),
        shares=(TopicSpec(topics.commands(namespace, name)),),
        holds=(f"versions/{owner.path_name}", f"checkpoints/{owner.path_name}"),
        partition=owner.path_name,
        limits=options.limits,
    )


def topics_of(options: TrainOptions) -> tuple[TopicSpec, ...]:
    """Scores, decisions, dead letters."""
    namespace, name = options.namespace, options.finetuner
    return (
        TopicSpec(topics.scores(namespace, name), retention_ms=options.retention_ms),
        TopicSpec(topics.decisions(namespace, name)),
        TopicSpec(topics.stage_dead(namespace, name, "train"), retention_ms=options.dead_retention_ms),
    )


def _open(spec: StageSpec, context: StageContext) -> Stage:
    from headrace.stages.train.stage import TrainStage

    assert isinstance(spec.options, TrainOptions)
    return TrainStage(spec.options, context.log, context.holder, context.state, context.clock)


def _purge(spec: StageSpec, context: StageContext) -> int:
    """The registry of its versions; their folders are in `holds`."""
    from headrace.promotion.registry import registry_key

    context.log.commit(Commit(state={registry_key(spec.id.namespace, spec.id.name): None}))
    return 0


STAGE = StageType(_open, purge=_purge)
