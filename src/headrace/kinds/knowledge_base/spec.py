"""What a KnowledgeBase declares."""

from typing import Annotated

from headrace.kinds.fields import Count, DurationMs, Name, Names, Refers, Text, Whole, words
from headrace.kinds.spec_model import SpecModel


class DocumentSource(SpecModel):
    """Where the documents come from."""

    source_stream_connector: Annotated[Name, Refers("StreamConnector")]
    """The StreamConnector whose rows are documents, or changes of them."""


class DocumentColumns(SpecModel):
    """Which columns hold the parts of a document."""

    id: Text = "path"
    """Column that identifies the document, in every version."""
    text: Text = "body"
    """Column with its text."""
    title: Text = "title"
    """Column with its title; optional."""
    metadata: Names = ()
    """Columns stored with it as metadata for filters."""
    version: Text | None = None
    """Column that orders the versions of one document. Default: order of arrival."""
    valid_from: Text | None = None
    """Column with the time from which a version is valid. Default: when it was first seen."""
    operation: Text = "operation"
    """Column with the operation: upsert (insert, update, read, c, u, r) or delete (d); missing: upsert."""
    media: Text = "media"
    """Column with the format of the text: markdown or plain; missing: markdown."""


class Chunking(SpecModel):
    """How documents are split."""

    max_tokens: Count = 200
    """Longest chunk, in tokens of the embedding model."""
    overlap: Whole = 20
    """Tokens shared by neighbouring chunks."""


class Retrieval(SpecModel):
    """How passages are found."""

    mode: Annotated[str, words("vector", "keyword", "hybrid")] = "hybrid"
    """vector: by meaning, keyword: by BM25, hybrid: both, fused by rank."""
    limit: Count = 5
    """Passages per question, unless the request sets a limit."""


class Freshness(SpecModel):
    """Freshness target, and how long history is kept."""

    target: DurationMs = 2_000
    """Target: longest time from seeing a change until it is searchable."""
    history: DurationMs = 7_776_000_000
    """How long old versions stay searchable as of their time."""


class KnowledgeBaseSpec(SpecModel):
    """Documents kept searchable as they change."""

    embedding_model: Annotated[Name, Refers("EmbeddingModel")]
    """The EmbeddingModel that makes the vectors."""
    data_source: DocumentSource
    """Where the documents come from."""
    document: DocumentColumns = DocumentColumns()
    """Which columns hold the parts of a document."""
    chunking: Chunking = Chunking()
    """How documents are split."""
    retrieval: Retrieval = Retrieval()
    """How passages are found."""
    freshness: Freshness = Freshness()
    """Freshness target, and how long history is kept."""
