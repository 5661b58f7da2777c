"""A KnowledgeBase → how it is indexed and searched."""

from dataclasses import replace
from typing import Any, cast

from headrace.foundation.settings import Settings
from headrace.kinds.knowledge_base.spec import KnowledgeBaseSpec
from headrace.kinds.planning import Planned, Planning
from headrace.kinds.resource import Resource
from headrace.kinds.stream_connector.stages import is_pushed
from headrace.kinds.stream_finetuner.spec import StreamFinetunerSpec
from headrace.knowledge.changes import DocumentColumns
from headrace.knowledge.chunking import ChunkOptions
from headrace.stages.embed.options import EmbedOptions
from headrace.stages.index.options import KnowledgeOptions
from headrace.stages.index.spec import index_spec
from headrace.stages.serve.spec import search_spec


def plan(base: Resource, planning: Planning) -> Planned:
    """Its index, and the door at which it is searched; provides KnowledgeOptions."""
    spec = cast("KnowledgeBaseSpec", base.spec)
    embedding = planning.provided(base, "EmbeddingModel", spec.embedding_model, EmbedOptions)
    connector = planning.needed(base, "StreamConnector", spec.data_source.source_stream_connector)
    options = replace(
        knowledge(base, embedding, planning.settings, pushed=is_pushed(connector)),
        finetuners=tuple(one.id for one in planning.siblings(base, "StreamFinetuner") if _uses(one, base.name)),
    )
    return Planned((index_spec(options), search_spec(options)), options)


def _uses(finetuner: Resource, base: str) -> bool:
    """Whether a finetuner's versions are trained with the knowledge base."""
    spec = cast("StreamFinetunerSpec", finetuner.spec)
    return spec.finetuner_info.knowledge_base == base and spec.asks_for_knowledge


def knowledge(base: Resource, embedding: EmbedOptions, settings: Settings, *, pushed: bool) -> KnowledgeOptions:
    """Its options; `pushed`: its connector reads an inbox."""
    spec = cast("KnowledgeBaseSpec", base.spec)
    given = spec.document
    columns = DocumentColumns(
        id=given.id, text=given.text, title=given.title, metadata=given.metadata, version=given.version,
        valid_from=given.valid_from, operation=given.operation, media=given.media,
    )  # fmt: skip
    return KnowledgeOptions(
        base.id,
        base.id.sibling("StreamConnector", spec.data_source.source_stream_connector),
        embedding,
        columns,
        ChunkOptions(spec.chunking.max_tokens, spec.chunking.overlap),
        cast("Any", spec.retrieval.mode),
        spec.retrieval.limit,
        spec.freshness.target,
        spec.freshness.history,
        settings.knowledge,
        settings.knowledge_url or "",
        pushed=pushed,
    )
