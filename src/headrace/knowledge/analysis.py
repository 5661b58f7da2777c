"""Text → terms: the same for documents and questions, in every back end."""

import re
import unicodedata
from collections import Counter
from functools import lru_cache

import Stemmer

ANALYSIS = "words-porter/1"
"""Part of a generation's chunker: different terms mean a different generation."""
_WORD = re.compile(r"\w+", re.UNICODE)
_MAX_TERM = 64
_STEMMER = Stemmer.Stemmer("porter", 0)


@lru_cache(maxsize=1 << 16)
def _stem(word: str) -> str:
    return _STEMMER.stemWord(word) or word


def terms(text: str) -> tuple[str, ...]:
    """Words in order, normalised for case, width and accents, and Porter-stemmed; never an operator, whatever the text contains."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter)) if not plain.isascii() else plain
    return tuple(_stem(word[:_MAX_TERM]) for word in _WORD.findall(plain))


def term_counts(text: str) -> dict[str, int]:
    """The frequency of each term in the text."""
    return dict(Counter(terms(text)))
