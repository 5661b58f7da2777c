"""A generation: one way of chunking and embedding all documents. A different model, dimension or chunker is a different generation."""

from dataclasses import dataclass
from typing import Literal

from headrace.foundation.ids import derive_id

State = Literal["building", "active", "kept"]


@dataclass(frozen=True, slots=True)
class Generation:
    """How its chunks were made, and its state."""

    model: str
    """The embedder's fingerprint."""
    dimension: int
    chunker: str
    """Everything that determines a document's chunks, as canonical JSON."""
    state: State = "building"
    created_ms: int = 0
    activated_ms: int = 0
    """When it last became active; 0: never."""
    retired_ms: int = 0
    """When another generation replaced it; 0: not yet."""

    @property
    def id(self) -> str:
        """Derived: equal parts give an equal id."""
        return "g" + derive_id(self.model, self.dimension, self.chunker)[:10]
