"""One EmbeddingModel."""

from dataclasses import dataclass, field
from pathlib import Path

from headrace.foundation.resource_id import ResourceId
from headrace.stages.limits import ResourceLimits


@dataclass(frozen=True, slots=True)
class EmbedOptions:
    """One EmbeddingModel."""

    id: ResourceId
    folder: Path | None = None
    """Of a checkpoint in Hugging Face's layout; None: a service elsewhere answers."""
    url: str = ""
    """Of the service, without `/embeddings`."""
    api_key: str | None = field(default=None, repr=False)
    remote_model: str = ""
    """The model's name there."""
    dimension: int | None = None
    """What the service's vectors must have; None: what its first answer has."""
    replicas: int = 1
    limits: ResourceLimits = ResourceLimits()
    golden: Path | None = None
    """Questions and graded answers that decide the precision; None: Headrace's own."""
