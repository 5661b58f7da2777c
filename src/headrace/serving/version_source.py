"""What this room needs to know of versions, and where it puts answers: ports that the spine implements."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from headrace.events.answer import Answer, Feedback


@dataclass(frozen=True, slots=True)
class VersionRef:
    """An immutable version: equal refs name equal weights, for ever."""

    model: str
    """The served model whose replicas answer."""
    version: str
    """`v3`; `base` for the base model."""
    path: Path
    """A Hugging Face checkpoint directory, adapters merged."""
    knowledge_version: str = ""
    """The generation of the knowledge index that belongs to it; '' where the model has none."""


@dataclass(frozen=True, slots=True)
class ModelCard:
    """One line of `/v1/models`."""

    name: str
    version: str
    """The version that the name means now."""
    created_ms: int = 0
    base: str = ""
    """Name of the base model; '' for a base model itself."""


class VersionSource(Protocol):
    """Names to versions. Both calls come once per request or more, from the event loop: they must be quick."""

    def models(self) -> list[ModelCard]:
        """The models that can be asked by name."""
        ...

    def resolve(self, model_name: str) -> VersionRef:
        """`NAME` → what the served alias points to; `NAME@vN` → that version; the base model's name → the base.

        NotFoundError gives the nearest names.
        """
        ...


class AnswerSink(Protocol):
    """Takes answers behind the response."""

    def record(self, answer_id: str, answer: Answer) -> None:
        """Never blocks and never waits for the log; what a full queue drops, the sink counts."""
        ...


class FeedbackSink(Protocol):
    """Takes what people say of answers."""

    async def give(self, feedback: Feedback) -> None:
        """Returns once the feedback is durable. NotFoundError where the answer's id is unknown, BusyError where a queue is full."""
        ...
