"""The `documents:` block of a StreamConnector."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from headrace.foundation.quantities import parse_duration_ms, parse_memory


def _duration(text: str) -> str:
    if parse_duration_ms(text) < 1:
        raise ValueError(f"{text!r} must be longer than 0")
    return text


def bytes_of(text: str) -> int:
    """Converts '20MB' or '20Mi' to bytes. ValueError lists the accepted forms."""
    return parse_memory(
        text[:-1].replace("K", "k") if text.endswith("B") and not text.endswith("iB") else text.removesuffix("B")
    )


def _size(text: str) -> str:
    bytes_of(text)
    return text


class Options(BaseModel):
    """A folder of documents: .md, .markdown, .txt, .html, .htm, .pdf, and .jsonl or .ndjson with one document per line. The columns are path, title, body, operation, modified_at, media and those of the schema, which come from Markdown front matter, HTML <meta name>, PDF metadata and JSON fields."""

    model_config = ConfigDict(
        alias_generator=to_camel, extra="forbid", frozen=True, populate_by_name=True, use_attribute_docstrings=True
    )

    path: str = Field(min_length=1)
    """The folder, relative to the YAML file. If it is missing or unmounted, the source waits for it and deletes no documents."""
    glob: str = Field(default="**/*", min_length=1)
    """Which of its files to read, relative to it. Hidden files, editors' temporary files, files of other kinds and links that lead out of the folder are skipped."""
    follow: bool = True
    """Keep watching: a document that appears, changes, moves or disappears becomes an upsert or a delete. false: read the folder once."""
    poll_interval: Annotated[str, AfterValidator(_duration)] = "500ms"
    """How often to scan the folder. A file that changed since the last scan waits for the next one, because it may still be being written."""
    max_bytes: Annotated[str, AfterValidator(_size)] = "20MB"
    """A larger file becomes a dead letter."""
    max_pages: int = Field(default=2_000, ge=1)
    """A PDF with more pages becomes a dead letter."""
    timeout: Annotated[str, AfterValidator(_duration)] = "30s"
    """How long reading one HTML file or PDF may take before it becomes a dead letter."""
