"""Token counts per word, cached: chunking asks for the same words again and again."""

from collections.abc import Sequence
from typing import Protocol
from weakref import WeakKeyDictionary

_MOST_WORDS = 1 << 17
_LONGEST_WORD = 64
_MOST_TEXTS = 1 << 14


class TokenCounter(Protocol):
    """What chunking needs from an embedder."""

    @property
    def max_tokens(self) -> int:
        """The embedder truncates longer texts; special tokens included."""
        ...

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text without special ones, not truncated."""
        ...


class TokenCounts:
    """One counter's cached counts. Thread-safe: a lost entry is counted again."""

    def __init__(self) -> None:
        self._words: dict[str, int] = {}
        self._texts: dict[str, int] = {}

    def roughly(self, counter: TokenCounter, texts: Sequence[str]) -> list[int]:
        """The sum over the words: exact for tokenizers that split at spaces, approximate for others."""
        split = [text.split() for text in texts]
        words = self._words if len(self._words) < _MOST_WORDS else {}
        self._words = words
        known: dict[str, int] = {}
        unknown = list({word for line in split for word in line if word not in words})
        for word, count in zip(unknown, counter.count_tokens(unknown) if unknown else [], strict=True):
            (words if len(word) <= _LONGEST_WORD else known)[word] = count
        return [sum(words[word] if word in words else known[word] for word in line) for line in split]

    def exactly(self, counter: TokenCounter, texts: Sequence[str]) -> list[int]:
        """The counter's own result."""
        before = self._texts
        found = {text: before[text] for text in texts if text in before}
        unknown = list(dict.fromkeys(text for text in texts if text not in found))
        found.update(zip(unknown, counter.count_tokens(unknown) if unknown else [], strict=True))
        if len(texts) <= _MOST_TEXTS:
            kept = before if len(before) + len(unknown) <= _MOST_TEXTS else {}
            kept.update((text, found[text]) for text in texts)
            self._texts = kept
        return [found[text] for text in texts]


_COUNTS: WeakKeyDictionary[TokenCounter, TokenCounts] = WeakKeyDictionary()


def counts_of(counter: TokenCounter) -> TokenCounts:
    """Earlier counts of this counter; none if the counter cannot be identified."""
    try:
        return _COUNTS.setdefault(counter, TokenCounts())
    except TypeError:  # it is not hashable or weakly referenceable
        return TokenCounts()
