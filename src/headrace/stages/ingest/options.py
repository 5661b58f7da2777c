"""One source StreamConnector."""

from dataclasses import dataclass

from headrace.connectors.source import SourceOptions


@dataclass(frozen=True, slots=True)
class IngestOptions:
    """One source StreamConnector."""

    source: SourceOptions
    retention_ms: int | None = None
    unique_ids: bool = False
    """Where ids are declared: a repeated id is not taken in again."""
    documents_by: tuple[str, ...] = ()
    """Columns that identify a document, for the knowledge bases that read the source. With some, the newest record of each document
    stays however old it is: the topic is compacted, and these columns are the key of its records."""
    pushed: bool = False
    """Rows come through an HTTP door into an inbox, which it reads."""
