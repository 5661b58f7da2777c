"""What the gateway answers with."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from headrace.connectors.source import SourceOptions
from headrace.foundation.resource_id import ResourceId
from headrace.stages.embed.options import EmbedOptions
from headrace.stages.index.options import KnowledgeOptions
from headrace.stages.limits import ResourceLimits

AnswersKept = Literal["best-effort", "required"]
"""required: an answer that cannot be journalled is an error to the client."""


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A finetuner or a bare BaseModel behind the gateway."""

    id: ResourceId
    """The resource that is asked."""
    base: Path
    base_model: ResourceId
    """Its own id where the base is asked by itself."""
    replicas: int = 1
    system_context: str = ""
    """Added when the client sends none."""
    input_max: int = 1024
    output_max: int = 256
    limits: ResourceLimits = ResourceLimits()
    knowledge: KnowledgeOptions | None = None
    """Where its answers are grounded."""
    knowledge_limit: int = 5
    user_question: str = ""
    """The template that its questions were trained in."""
    answers_retention_ms: int | None = None
    """How long the namespace keeps answers at least; None: without limit."""
    feedback_retention_ms: int | None = None

    @property
    def learns(self) -> bool:
        """Whether it is a finetuner, with versions, rather than the base by itself."""
        return self.id != self.base_model


@dataclass(frozen=True, slots=True)
class DoorOptions:
    """Where the doors listen."""

    host: str = "127.0.0.1"
    port: int = 5000
    api_key: str | None = field(default=None, repr=False)
    answers: AnswersKept = "best-effort"


LOOPBACK = DoorOptions()


@dataclass(frozen=True, slots=True)
class PushDoor:
    """A source that clients push to."""

    source: SourceOptions


@dataclass(frozen=True, slots=True)
class SearchDoor:
    """A knowledge base that clients search."""

    knowledge: KnowledgeOptions


@dataclass(frozen=True, slots=True)
class EmbeddingDoor:
    """A model that embeds for clients."""

    embed: EmbedOptions


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """The gateway."""

    models: tuple[ServedModel, ...] = ()
    inboxes: tuple[SourceOptions, ...] = ()
    """Pushed sources whose HTTP door is at this address."""
    host: str = "127.0.0.1"
    port: int = 5000
    api_key: str | None = field(default=None, repr=False)
    max_queue: int = 256
    max_batch: int = 16
    embed: tuple[EmbedOptions, ...] = ()
    """Behind `/v1/embeddings`."""
    knowledge: tuple[KnowledgeOptions, ...] = ()
    """Searched at this address."""
    answers: AnswersKept = "best-effort"
    """What happens to an answer that cannot be kept: it is given and counted, or it is not given."""
