"""An embedder without weights: a text's vector is the sum of its words' own random directions. Texts that share words are near.

For tests of everything around an embedder: exact, quick, the same everywhere. Counts what it was asked for.
"""

import zlib
from collections.abc import Callable, Sequence

import numpy as np

from headrace.foundation.errors import UnavailableError
from headrace.knowledge.analysis import terms
from headrace.models.embedder import Vectors


class WordEmbedder:
    """An Embedder. `away` makes it answer as a service that is down."""

    def __init__(self, dimension: int = 64, *, name: str = "words") -> None:
        """`name`: another name, another model: its directions are others."""
        self._dimension, self._name = dimension, name
        self.embedded: list[str] = []
        """Every text that was asked for, in order."""
        self.away = False

    @property
    def fingerprint(self) -> str:
        return f"{self._name}-{self._dimension}"

    @property
    def dimension(self) -> int:
        return self._dimension

    @property
    def max_tokens(self) -> int:
        return 512

    def embed(self, texts: Sequence[str], progress: Callable[[int], None] | None = None) -> Vectors:
        if self.away:
            raise UnavailableError("no embedding model answers", next_step="start it")
        self.embedded += texts
        vectors = np.stack([self._vector(text) for text in texts]) if texts else np.zeros((0, self._dimension))
        if progress:
            progress(len(texts))
        return vectors.astype(np.float32)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """A word is a token."""
        return [len(text.split()) for text in texts]

    def close(self) -> None:
        """Holds nothing."""

    def _vector(self, text: str) -> Vectors:
        total = np.full(self._dimension, 1e-3)
        for term in terms(text):
            seed = zlib.crc32(f"{self._name}/{term}".encode())
            total += np.random.Generator(np.random.PCG64(seed)).standard_normal(self._dimension)
        return (total / np.linalg.norm(total)).astype(np.float32)
