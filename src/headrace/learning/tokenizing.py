"""Turns an example into the tokens to learn, within the declared lengths."""

from collections.abc import Sequence
from dataclasses import dataclass

from headrace.events.example import Example
from headrace.events.message import Passage
from headrace.models.prompt_renderer import PromptRenderer, TooLongError
from headrace.models.sequence import TokenSequence


@dataclass(frozen=True, slots=True)
class Tokenizing:
    """Renders with one tokenizer and one pair of limits, in tokens of the base model."""

    renderer: PromptRenderer
    input_max: int
    output_max: int

    def sequence(self, example: Example, answer: str, passages: Sequence[Passage]) -> TokenSequence:
        """TooLongError if the prompt or the answer does not fit."""
        return self.renderer.example(
            example.messages, answer, passages=passages, input_max=self.input_max, output_max=self.output_max
        )

    def fits(self, example: Example, answer: str, passages: Sequence[Passage]) -> TokenSequence | None:
        """The same; None if it does not fit."""
        try:
            return self.sequence(example, answer, passages)
        except TooLongError:
            return None
