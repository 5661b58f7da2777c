"""A StreamConnector → its ingest, its door, or its sink."""

from dataclasses import replace
from typing import cast

from headrace.connectors.sink import SinkOptions
from headrace.connectors.source import SourceOptions
from headrace.events import topics
from headrace.foundation.resource_id import ResourceId
from headrace.kinds.inputs import source_options
from headrace.kinds.knowledge_base.spec import KnowledgeBaseSpec
from headrace.kinds.planning import Planned, Planning
from headrace.kinds.resource import Resource
from headrace.kinds.secret_fields import resolved
from headrace.kinds.secrets import SecretSources
from headrace.kinds.stream_connector.spec import SinkInput, StreamConnectorSpec
from headrace.stages.ingest.options import IngestOptions
from headrace.stages.ingest.spec import ingest_spec
from headrace.stages.serve.spec import push_spec
from headrace.stages.sink.options import SinkStageOptions
from headrace.stages.sink.spec import sink_spec


def opened_source(connector: Resource, sources: SecretSources) -> SourceOptions:
    """The source with its secrets in clear. SecretNotFoundError."""
    options = source_options(connector)
    return replace(options, options=resolved(options.options, sources, connector.folder))


DOCUMENTS = {"documents": "path"}
"""Source types whose rows are always documents, and the column that identifies one."""
PUSHED = frozenset({"http"})
"""Source types that the gateway serves."""


def is_pushed(connector: Resource) -> bool:
    """Whether its rows come through a door of the gateway."""
    return cast("StreamConnectorSpec", connector.spec).type in PUSHED


def plan(connector: Resource, planning: Planning) -> Planned:
    """A source is ingested, and pushed to where it has a door; a static table is read by the queries that join it; a sink writes."""
    spec = cast("StreamConnectorSpec", connector.spec)
    if spec.direction == "sink":
        given = cast("SinkInput", spec.input)
        for kind, name in (("StreamFinetuner", given.stream_finetuner), ("StreamConnector", given.stream_connector)):
            if name:
                planning.needed(connector, kind, name)
        return Planned((sink_spec(sink(connector, planning.secrets)),))
    source = opened_source(connector, planning.secrets)
    if spec.table is not None:
        return Planned(provides=source)
    pushed = is_pushed(connector)
    options = IngestOptions(
        source,
        spec.retention,
        unique_ids=bool(spec.id),
        documents_by=_documents_by(connector, planning),
        pushed=pushed,
    )
    doors = (push_spec(source),) if pushed else ()
    return Planned((ingest_spec(options), *doors), source)


def _documents_by(connector: Resource, planning: Planning) -> tuple[str, ...]:
    """What the knowledge bases that read the connector identify a document by, sorted; empty: its rows are no documents."""
    bases = (cast("KnowledgeBaseSpec", one.spec) for one in planning.siblings(connector, "KnowledgeBase"))
    found = {one.document.id for one in bases if one.data_source.source_stream_connector == connector.name}
    if own := DOCUMENTS.get(cast("StreamConnectorSpec", connector.spec).type):
        found.add(own)
    return tuple(sorted(found))


def sink(connector: Resource, sources: SecretSources) -> SinkStageOptions:
    """What a sink writes, and how."""
    spec = cast("StreamConnectorSpec", connector.spec)
    options = SinkOptions(
        connector.id,
        spec.type,
        resolved(spec.block, sources, connector.folder),
        connector.folder,
    )
    return SinkStageOptions(options, topic(connector.id, cast("SinkInput", spec.input)))


def topic(sink: ResourceId, given: SinkInput) -> str:
    """The topic that a sink's `input` names; left out: a finetuner's rows, a connector's events, the namespace's answers."""
    if given.stream_connector:
        name = topics.dead if given.topic == "dead" else topics.events
        return name(sink.sibling("StreamConnector", given.stream_connector))
    if given.stream_finetuner is None:
        return topics.feedback(sink.namespace) if given.topic == "feedback" else topics.answers(sink.namespace)
    finetuner = sink.sibling("StreamFinetuner", given.stream_finetuner)
    what = given.topic or "rows"
    if what.startswith("dead."):
        return topics.stage_dead(finetuner, what.removeprefix("dead."))
    return _OF_FINETUNER[what](finetuner)


_OF_FINETUNER = {
    "rows": topics.rows,
    "late": topics.late,
    "prompts": topics.prompts,
    "examples": topics.examples,
    "scores": topics.scores,
    "decisions": topics.decisions,
}
