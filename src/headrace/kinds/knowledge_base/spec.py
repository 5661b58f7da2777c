"""What a KnowledgeBase declares."""

from typing import Annotated

from headrace.kinds.fields import Count, DurationMs, Name, Names, Refers, Text, Whole, words
from headrace.kinds.spec_model import SpecModel


class DocumentSource(SpecModel):
    """Where the documents come from."""

    source_stream_connector: Annotated[Name, Refers("StreamConnector")]
    """The StreamConnector whose rows are documents, or changes of them."""


class DocumentColumns(SpecModel):
    """Which column holds what of a document."""

    id: Text = "path"
    """Column that identifies the document, in every version."""
    text: Text = "body"
    """Column with its text."""
    title: Text = "title"
    """Column with its title; may be missing."""
    metadata: Names = ()
    """Columns kept beside it, to filter by."""
    version: Text | None = None
    """Column that orders the versions of one document; left out: the order of arrival."""
    valid_from: Text | None = None
    """Column with the time since which a version is true; left out: since it was first seen."""
    operation: Text = "operation"
    """Column that says what happened: upsert (insert, update, read, c, u, r) or delete (d); missing: upsert."""
    media: Text = "media"
    """Column that says how the text is written: markdown or plain; missing: markdown."""


class Chunking(SpecModel):
    """How documents are cut."""

    max_tokens: Count = 200
    """Longest chunk, in tokens of the embedding model."""
    overlap: Whole = 20
    """Tokens that neighbouring chunks share."""


class Retrieval(SpecModel):
    """How passages are found."""

    mode: Annotated[str, words("vector", "keyword", "hybrid")] = "hybrid"
    """vector: by meaning, keyword: by BM25, hybrid: both, fused by rank."""
    limit: Count = 5
    """Passages per question, where the asker says nothing."""


class Freshness(SpecModel):
    """How new it must be, and how far back it remembers."""

    target: DurationMs = 2_000
    """Longest time from a change being seen to its being found."""
    history: DurationMs = 7_776_000_000
    """How long old versions can be asked for as of their time."""


class KnowledgeBaseSpec(SpecModel):
    """Documents kept searchable as they change."""

    embedding_model: Annotated[Name, Refers("EmbeddingModel")]
    """The EmbeddingModel that makes the vectors."""
    data_source: DocumentSource
    """Where the documents come from."""
    document: DocumentColumns = DocumentColumns()
    """Which column holds what of a document."""
    chunking: Chunking = Chunking()
    """How documents are cut."""
    retrieval: Retrieval = Retrieval()
    """How passages are found."""
    freshness: Freshness = Freshness()
    """How new it must be, and how far back it remembers."""
