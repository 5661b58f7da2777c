"""What a file says: one document, or many; and why it says none."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from headrace.foundation.errors import FinalError


@dataclass(frozen=True, slots=True)
class Document:
    """A text with what stands beside it."""

    title: str
    body: str
    media: str
    """markdown or plain"""
    fields: Mapping[str, object] = field(default_factory=dict[str, object])
    """What the document says of itself."""


class UnreadableDocumentError(FinalError):
    """A file, or a line of one, that holds no document."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
