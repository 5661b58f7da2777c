"""The port to the single renderer: the same tokens for training, scoring and serving (SEMANTICS §5)."""

from collections.abc import Sequence
from typing import Protocol

from headrace.events.message import Message, Passage
from headrace.foundation.errors import FinalError
from headrace.models.sequence import TokenSequence

KNOWLEDGE = "{knowledge}"
"""The placeholder for passages in a message; `stages/prompt` keeps it, the renderer replaces it with the passages that fit."""


class TooLongError(FinalError):
    """A prompt without passages, or an answer, exceeds its token limit: a dead letter."""


class PromptRenderer(Protocol):
    """Renders with the checkpoint's chat template, or with Headrace's own, which is stored inside every version."""

    @property
    def end_token_id(self) -> int: ...

    @property
    def vocabulary_size(self) -> int: ...

    def example(
        self,
        messages: Sequence[Message],
        answer: str,
        *,
        passages: Sequence[Passage] = (),
        input_max: int | None = None,
        output_max: int | None = None,
    ) -> TokenSequence:
        """Prompt and answer. A prompt that is too long loses passages, lowest ranked first; TooLongError if that is not enough."""
        ...

    def prompt(
        self, messages: Sequence[Message], *, passages: Sequence[Passage] = (), input_max: int | None = None
    ) -> tuple[int, ...]:
        """The prompt alone, ending where the assistant's turn begins: a prefix of `example`'s result."""
        ...

    def grounded(
        self, messages: Sequence[Message], passages: Sequence[Passage], *, input_max: int | None = None
    ) -> tuple[tuple[int, ...], int]:
        """The same, plus how many of the passages, best first, it contains."""
        ...

    def encode(self, text: str) -> tuple[int, ...]:
        """Text unchanged, for `/v1/completions`."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """The text of an answer's tokens, without special tokens. Reverses what `example` did to an answer."""
        ...
