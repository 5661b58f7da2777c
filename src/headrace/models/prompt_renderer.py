"""The port to the one renderer: the same tokens for training, scoring and serving (SEMANTICS §5)."""

from collections.abc import Sequence
from typing import Protocol

from headrace.events.message import Message, Passage
from headrace.foundation.errors import FinalError
from headrace.models.sequence import TokenSequence

KNOWLEDGE = "{knowledge}"
"""Where passages stand in a message; `stages/prompt` leaves it in, the renderer fills it with the passages that fit."""


class TooLongError(FinalError):
    """A prompt without passages, or an answer, exceeds its limit in the model's tokens: a dead letter."""


class PromptRenderer(Protocol):
    """Renders with the checkpoint's chat template, else with Headrace's own fallback, which is stored inside every version."""

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
        """Prompt and answer. Too long a prompt loses passages, lowest ranked first; TooLongError where that is not enough."""
        ...

    def prompt(
        self, messages: Sequence[Message], *, passages: Sequence[Passage] = (), input_max: int | None = None
    ) -> tuple[int, ...]:
        """The prompt alone, ending where the assistant begins to speak: a prefix of what `example` gives."""
        ...

    def grounded(
        self, messages: Sequence[Message], passages: Sequence[Passage], *, input_max: int | None = None
    ) -> tuple[tuple[int, ...], int]:
        """The same, and how many of the passages, best first, are in it."""
        ...

    def encode(self, text: str) -> tuple[int, ...]:
        """Text as it is, for `/v1/completions`."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Text of an answer's tokens; special tokens are left out. What `example` made of an answer comes back as that answer."""
        ...
