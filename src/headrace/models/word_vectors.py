"""Initial vectors for a new model's words: words that share letters start near each other.

`card`, `Card`, ` cards` start with nearly the same vector, so that a small model need not learn each from its own few
examples. A word's vector is the sum of its letter groups' vectors (Bojanowski et al. 2017, Enriching Word Vectors with Subword
Information, §3.2), drawn at random, mixed with one of its own. The variance stays that of the initialiser.
"""

from collections.abc import Mapping
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

_SHARED = 0.9
"""Fraction of the variance that comes from the letter groups."""
_GROUPS = (3, 4, 5)
_BUCKETS = 2**13
"""Letter groups share vectors by hash, as in the paper."""
_BLANK = "Ġ"


def related_vectors(own: NDArray[np.float32], vocabulary: Mapping[str, int], deviation: float) -> NDArray[np.float32]:
    """[tokens, channels] drawn with `deviation` → the same with similar words' rows moved together; other rows stay."""
    vectors = own.copy()
    table = np.random.default_rng(0).standard_normal((_BUCKETS, own.shape[1]), np.float32) * deviation
    for token, row in vocabulary.items():
        word = token.removeprefix(_BLANK).lower()
        if len(word) > 1 and word.isalpha():
            groups = table[_buckets(word)]
            vectors[row] = np.sqrt(1 - _SHARED) * own[row] + np.sqrt(_SHARED / len(groups)) * groups.sum(axis=0)
    return vectors


def _buckets(word: str) -> list[int]:
    bounded = f"<{word}>"
    groups = [bounded[start : start + size] for size in _GROUPS for start in range(len(bounded) - size + 1)]
    return [crc32(group.encode()) % _BUCKETS for group in groups]
