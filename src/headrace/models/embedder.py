"""The port to an embedding model."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]


class Embedder(Protocol):
    """Turns texts into vectors of length 1, [dimension] each. Thread-safe.

    Errors: UnavailableError (call again), FinalError (a service returns another dimension or numbers that are
    not finite, or rejects a text).
    """

    @property
    def fingerprint(self) -> str:
        """Equal fingerprints mean equal vectors: weights, pooling, normalisation, length, precision."""
        ...

    @property
    def dimension(self) -> int: ...

    @property
    def max_tokens(self) -> int:
        """Longer texts are truncated; special tokens included."""
        ...

    def embed(self, texts: Sequence[str], progress: Callable[[int], None] | None = None) -> Vectors:
        """[len(texts), dimension], in order. A text's vector does not depend on its neighbours. `progress`: texts done so far."""
        ...

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text without special ones, not truncated."""
        ...

    def close(self) -> None: ...
