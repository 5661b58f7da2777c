"""Opens a knowledge base for callers outside the roles."""

from headrace.control.resource_store import ResourceStore
from headrace.foundation.errors import NotFoundError, UnavailableError
from headrace.foundation.resource_id import ResourceId
from headrace.foundation.settings import Settings
from headrace.kinds.topology import topology
from headrace.log.topic_log import TopicLog
from headrace.models.embedder import Embedder
from headrace.stages.embed.embedding import embedders_folder
from headrace.stages.embed.options import EmbedOptions
from headrace.stages.index.knowledge_view import KnowledgeView
from headrace.stages.index.options import KnowledgeOptions


def find_knowledge(log: TopicLog, settings: Settings, base: ResourceId) -> KnowledgeOptions:
    """The knowledge base applied under that name. NotFoundError lists those that exist, or says why it cannot run."""
    plan = topology(ResourceStore(log).all(), settings)
    for one in plan.options(KnowledgeOptions):
        if one.id == base:
            return one
    for missing in plan.not_ready:
        if missing.id == base:
            raise NotFoundError(f"KnowledgeBase/{base.name} is not ready: {missing.message}")
    there = [one.id.name for one in plan.options(KnowledgeOptions) if one.id.namespace == base.namespace]
    raise NotFoundError(
        f"there is no KnowledgeBase {base.name!r} in namespace {base.namespace}",
        next_step=f"use one of: {', '.join(there) or 'none is applied'}",
    )


def open_view(log: TopicLog, settings: Settings, base: ResourceId) -> KnowledgeView:
    """Searches by the model's running processes, else by the model in this process."""
    options = find_knowledge(log, settings, base)
    return KnowledgeView(options, settings.state, embedder=_embedder(options.embedding, settings))


def _embedder(options: EmbedOptions, settings: Settings) -> Embedder | None:
    """None: connects on first use to the model that answers."""
    from headrace.models.http_embedder import connect_local

    if options.url or options.folder is None:
        return None
    try:
        running = connect_local(settings.state, options.id, options.folder)
        running.embed(["ready"])  # a process that was killed leaves its address behind
        return running
    except UnavailableError:
        from headrace.models.onnx import open_embedder, prepare

        exported = prepare(options.folder, embedders_folder(settings.state), golden=options.golden)
        return open_embedder(exported.folder, threads=1)
