"""A generation: one way of cutting and embedding everything. Another model, dimension or chunker is another generation."""

from dataclasses import dataclass
from typing import Literal

from headrace.foundation.ids import derive_id

State = Literal["building", "active", "kept"]


@dataclass(frozen=True, slots=True)
class Generation:
    """How its chunks were made, and where it stands."""

    model: str
    """The embedder's fingerprint."""
    dimension: int
    chunker: str
    """Everything that decides where a document is cut, as canonical JSON."""
    state: State = "building"
    created_ms: int = 0
    activated_ms: int = 0
    """When it last became the active one; 0: never."""
    retired_ms: int = 0
    """When another took its place; 0: not so far."""

    @property
    def id(self) -> str:
        """Derived: equal parts, equal generation."""
        return "g" + derive_id(self.model, self.dimension, self.chunker)[:10]
