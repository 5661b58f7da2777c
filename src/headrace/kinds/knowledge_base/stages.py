"""A KnowledgeBase → how it is indexed and searched."""

from dataclasses import replace
from typing import Any, cast

from headrace.foundation.settings import Settings
from headrace.kinds.knowledge_base.spec import KnowledgeBaseSpec
from headrace.kinds.resource import Resource
from headrace.kinds.stream_finetuner.spec import StreamFinetunerSpec
from headrace.knowledge.changes import DocumentColumns
from headrace.knowledge.chunking import ChunkOptions
from headrace.stages.embed.options import EmbedOptions
from headrace.stages.index.options import KnowledgeOptions

KNOWLEDGE = "{knowledge}"


def asks_for_knowledge(spec: StreamFinetunerSpec) -> bool:
    """Whether `{knowledge}` stands in a prompt."""
    return any(
        KNOWLEDGE in text
        for entry in spec.prompt_template
        for text in (entry.user_question, entry.system_context or "")
    )


def knowledge(base: Resource, embedding: EmbedOptions, settings: Settings, *, pushed: bool) -> KnowledgeOptions:
    """Its options; `pushed`: its connector reads an inbox."""
    spec = cast("KnowledgeBaseSpec", base.spec)
    given = spec.document
    columns = DocumentColumns(
        id=given.id, text=given.text, title=given.title, metadata=given.metadata, version=given.version,
        valid_from=given.valid_from, operation=given.operation, media=given.media,
    )  # fmt: skip
    return KnowledgeOptions(
        base.namespace,
        base.name,
        spec.data_source.source_stream_connector,
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


def used_by(options: KnowledgeOptions, finetuner: str) -> KnowledgeOptions:
    """The same, remembering that a finetuner's versions are trained with it."""
    return replace(options, finetuners=(*options.finetuners, finetuner))
