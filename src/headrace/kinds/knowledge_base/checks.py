"""What a KnowledgeBase's fields must be together, and with its source."""

from collections.abc import Iterator

from headrace.kinds.fields import FieldError, read_integer
from headrace.kinds.kind import Draft, World
from headrace.kinds.mistake import nearest
from headrace.kinds.problem import Problem
from headrace.kinds.stream_connector.checks import declared_columns

_COLUMNS = ("id", "text", "title", "version", "validFrom", "operation", "media")
_OF_DOCUMENTS = ("path", "title", "body", "operation", "modified_at", "media")
"""Columns that every source of type documents has."""


def check(draft: Draft, world: World) -> Iterator[Problem]:
    """Overlap is shorter than a chunk; columns exist; the source is a source."""
    yield from _overlap(draft)
    name = draft.text("dataSource", "sourceStreamConnector")
    source = world.find(draft.id.sibling("StreamConnector", name)) if name else None
    if source and source.text("direction") == "sink":
        yield Problem(("dataSource", "sourceStreamConnector"), f"{name} is a sink, not a source")
    columns = _columns_of(source) if source else None
    if columns:
        yield from _document_columns(draft, columns)


def _columns_of(source: Draft) -> tuple[str, ...] | None:
    """What is known of its columns; None: nothing before it is read."""
    declared = declared_columns(source)
    return (*_OF_DOCUMENTS, *(declared or ())) if source.text("type") == "documents" else declared


def _overlap(draft: Draft) -> Iterator[Problem]:
    try:
        overlap = read_integer(draft.given("chunking", "overlap") or 20)
        longest = read_integer(draft.given("chunking", "maxTokens") or 200)
    except FieldError:
        return
    if overlap >= longest:
        where = "overlap" if draft.given("chunking", "overlap") else "maxTokens"
        yield Problem(
            ("chunking", where), f"an overlap of {overlap} tokens must be smaller than the chunk of {longest}"
        )


def _document_columns(draft: Draft, columns: tuple[str, ...]) -> Iterator[Problem]:
    named = [((key,), draft.text("document", key)) for key in _COLUMNS]
    named += [
        (("metadata", place), text)
        for place, text in enumerate(draft.items("document", "metadata"))
        if isinstance(text, str)
    ]
    for location, text in named:
        if text is not None and text not in columns:
            yield Problem(
                ("document", *location), f"the source has no column {text!r}", columns, nearest(text, columns)
            )
