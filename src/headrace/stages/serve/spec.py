"""What the gateway answers with, each part described; the role `serve` puts the parts together."""

from collections.abc import Sequence

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
    return StageSpec(
        "serve",
        options.id,
        options,
        shares=shared_topics(options.id.namespace, options.answers_retention_ms),
        role=ROLE,
    )


def shared_topics(namespace: str, retention_ms: int | None) -> tuple[TopicSpec, TopicSpec]:
    """Answers: one that a kill sends twice is there once, and is found by its id without a scan. Feedback."""
    return (
        TopicSpec(topics.answers(namespace), retention_ms=retention_ms, unique_ids=True),
        TopicSpec(topics.feedback(namespace), retention_ms=retention_ms),
    )


def longest_retention(models: Sequence[ServedModel]) -> dict[str, int | None]:
    """By namespace: for how long answers are kept that several models share."""
    found: dict[str, int | None] = {}
    for one in models:
        known = found.get(one.id.namespace, 0)
        wanted = one.answers_retention_ms
        found[one.id.namespace] = None if known is None or wanted is None else max(known, wanted)
    return found


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
