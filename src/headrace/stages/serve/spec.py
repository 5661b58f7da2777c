"""What the gateway answers with, each part described; the role `serve` puts the parts together."""

from collections.abc import Iterable, Sequence

from headrace.connectors.source import SourceOptions
from headrace.events import topics
from headrace.log.topic_log import TopicSpec
from headrace.stages.embed.options import EmbedOptions
from headrace.stages.index.options import KnowledgeOptions
from headrace.stages.serve.options import DoorOptions, EmbeddingDoor, PushDoor, SearchDoor, ServedModel, ServeOptions
from headrace.stages.stage_spec import StageSpec
from headrace.stages.stage_type import StageType

ROLE = "serve"


def serve_spec(options: ServedModel) -> StageSpec:
    """Of a finetuner, or of a base model by itself."""
    return StageSpec("serve", options.id, options, shares=shared_topics(options.id.namespace, (options,)), role=ROLE)


def shared_topics(namespace: str, models: Sequence[ServedModel]) -> tuple[TopicSpec, TopicSpec]:
    """Answers: one that a kill sends twice is there once, and is found by its id without a scan. Feedback.

    Both are kept for the longest time that one of the namespace's finetuners declares. A BaseModel declares none, and counts only
    where there is no finetuner.
    """
    own = [one for one in models if one.id.namespace == namespace]
    saying = [one for one in own if one.learns] or own
    return (
        TopicSpec(
            topics.answers(namespace),
            retention_ms=_longest(one.answers_retention_ms for one in saying),
            unique_ids=True,
        ),
        TopicSpec(topics.feedback(namespace), retention_ms=_longest(one.feedback_retention_ms for one in saying)),
    )


def _longest(given: Iterable[int | None]) -> int | None:
    """None: one of them sets no limit, or there is none of them."""
    times = list(given)
    limits = [one for one in times if one is not None]
    return max(limits) if limits and len(limits) == len(times) else None


def push_spec(source: SourceOptions) -> StageSpec:
    """The door through which a connector's rows are pushed."""
    from headrace.connectors.http.inbox import inbox_topic

    return StageSpec("push", source.id, PushDoor(source), writes=(inbox_topic(source),), role=ROLE)


def search_spec(options: KnowledgeOptions) -> StageSpec:
    """The door at which a knowledge base is searched."""
    return StageSpec("search", options.id, SearchDoor(options), role=ROLE)


def embedding_door_spec(options: EmbedOptions) -> StageSpec:
    """The door that embeds for clients."""
    return StageSpec("embedding-door", options.id, EmbeddingDoor(options), role=ROLE)


def gateway_options(specs: Sequence[StageSpec], doors: DoorOptions) -> ServeOptions:
    """All parts of the role as one."""
    options = [one.options for one in specs]
    return ServeOptions(
        tuple(one for one in options if isinstance(one, ServedModel)),
        tuple(one.source for one in options if isinstance(one, PushDoor)),
        doors.host,
        doors.port,
        doors.api_key,
        answers=doors.answers,
        embed=tuple(one.embed for one in options if isinstance(one, EmbeddingDoor)),
        knowledge=tuple(one.knowledge for one in options if isinstance(one, SearchDoor)),
    )


STAGE = StageType(open=None)
