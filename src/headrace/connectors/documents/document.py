"""The contents of a file: one document or many, or why it has none."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from headrace.foundation.errors import FinalError


@dataclass(frozen=True, slots=True)
class Document:
    """A text and its metadata."""

    title: str
    body: str
    media: str
    """markdown or plain"""
    fields: Mapping[str, object] = field(default_factory=dict[str, object])
    """The document's own metadata."""


class UnreadableDocumentError(FinalError):
    """A file, or a line in one, that is not a readable document."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
