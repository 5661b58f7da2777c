"""What this room must know about versions, and where it puts answers: ports implemented elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from headrace.events.answer import Answer, Feedback
from headrace.foundation.errors import UnavailableError
from headrace.foundation.resource_id import ResourceId


@dataclass(frozen=True, slots=True)
class VersionRef:
    """An immutable version: equal refs always refer to equal weights."""

    model: ResourceId
    """The served model whose replicas answer."""
    version: str
    """`v3`; `base` for the base model."""
    path: Path
    """A Hugging Face checkpoint directory, adapters merged."""
    knowledge_version: str = ""
    """The generation of the knowledge index that belongs to it; '' if the model has none."""


@dataclass(frozen=True, slots=True)
class ModelCard:
    """One line of `/v1/models`."""

    id: ResourceId
    name: str
    """The shortest unambiguous name of the model: the name alone, or with its namespace if several namespaces have it."""
    version: str
    """The version that the name currently refers to."""
    created_ms: int = 0
    base: str = ""
    """Name of the base model; '' for a base model itself."""


def pinned_version(model_name: str) -> str:
    """The version in `NAME@vN`; '': the name follows the alias."""
    return model_name.partition("@")[2]


class VersionSource(Protocol):
    """Resolves names to versions. Both methods are called at least once per request, on the event loop: they must be fast."""

    def models(self) -> list[ModelCard]:
        """The available models."""
        ...

    def resolve(self, model_name: str) -> VersionRef:
        """`NAME` → the served alias's version; `NAME@vN` → that version.

        NAME is `name`, `namespace/name` or `Kind/namespace/name`. NotFoundError lists the candidates of an ambiguous name, or
        gives the nearest names.
        """
        ...


class AnswerSink(Protocol):
    """Records answers."""

    def refusal(self) -> UnavailableError | None:
        """Why no answer may be given now; None: answers may be given."""
        ...

    async def keep(self, model: ResourceId, answers: Mapping[str, Answer]) -> None:
        """Takes the answers of one request by id, before its last piece is sent.

        Best effort: returns at once; the sink counts what it cannot record. Required: returns when the answers are on disk;
        UnavailableError if they cannot be recorded, and then the client must not get the last piece.
        """
        ...


class FeedbackSink(Protocol):
    """Records feedback on answers."""

    async def give(self, feedback: Feedback) -> None:
        """Returns once the feedback is durable. NotFoundError if the answer's id is unknown, UnavailableError while the log is unavailable."""
        ...
