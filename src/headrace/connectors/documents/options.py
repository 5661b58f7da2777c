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
    """'20MB' or '20Mi' → bytes. ValueError gives the accepted forms."""
    return parse_memory(
        text[:-1].replace("K", "k") if text.endswith("B") and not text.endswith("iB") else text.removesuffix("B")
    )


def _size(text: str) -> str:
    bytes_of(text)
    return text


class Options(BaseModel):
    """A folder of documents: .md, .markdown, .txt, .html, .htm, .pdf, and .jsonl or .ndjson with one document a line. Their columns are path, title, body, operation, modified_at, media and those of the schema, which are taken from the front matter of Markdown, the <meta name> of HTML, the information of a PDF and the fields of JSON."""

    model_config = ConfigDict(
        alias_generator=to_camel, extra="forbid", frozen=True, populate_by_name=True, use_attribute_docstrings=True
    )

    path: str = Field(min_length=1)
    """The folder, relative to the YAML file. A folder that is missing or unmounted is waited for; its documents are not deleted for that."""
    glob: str = Field(default="**/*", min_length=1)
    """Which of its files, relative to it. Hidden files, editors' temporary files and files of other kinds are passed over, and so are links that lead out of it."""
    follow: bool = True
    """Keep watching: a document that appears, changes, moves or vanishes becomes an upsert or a delete. false: read the folder once."""
    poll_interval: Annotated[str, AfterValidator(_duration)] = "500ms"
    """How often the folder is looked through. A file that changed since the last look waits for the next one, because it may still be written."""
    max_bytes: Annotated[str, AfterValidator(_size)] = "20MB"
    """A larger file is not read; it becomes a dead letter."""
    max_pages: int = Field(default=2_000, ge=1)
    """A PDF with more pages becomes a dead letter."""
    timeout: Annotated[str, AfterValidator(_duration)] = "30s"
    """How long the reading of one HTML file or PDF may take before it becomes a dead letter."""
