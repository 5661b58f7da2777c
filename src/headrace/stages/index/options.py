"""One KnowledgeBase."""

from dataclasses import dataclass, field

from headrace.foundation.resource_id import ResourceId
from headrace.knowledge.changes import DocumentColumns
from headrace.knowledge.chunking import ChunkOptions
from headrace.knowledge.query import Mode
from headrace.stages.embed.options import EmbedOptions


@dataclass(frozen=True, slots=True)
class KnowledgeOptions:
    """One KnowledgeBase: how it is indexed and searched."""

    id: ResourceId
    source: ResourceId
    """The StreamConnector whose rows are its documents."""
    embedding: EmbedOptions
    columns: DocumentColumns = DocumentColumns()
    chunking: ChunkOptions = ChunkOptions()
    mode: Mode = "hybrid"
    limit: int = 5
    target_ms: int = 2_000
    history_ms: int = 7_776_000_000
    store: str = "sqlite"
    """The store's technology."""
    url: str = field(default="", repr=False)
    """The store's address, where it is a server."""
    unavailable_timeout_ms: int = 600_000
    """How long a run that ends when it is idle waits for embeddings."""
    finetuners: tuple[ResourceId, ...] = ()
    """Those whose versions may have been trained with it."""
    pushed: bool = False
    """Its source reads an inbox, which ingest must have read too before a moment is over."""
