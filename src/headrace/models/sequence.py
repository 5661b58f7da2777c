"""The model's input: token ids, and where the answer starts."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TokenSequence:
    """Prompt and answer as one sequence; learning and scoring both use exactly this."""

    ids: tuple[int, ...]
    """All tokens: prompt, then answer, then the end token."""
    answer_start: int
    """Index of the first answer token in `ids`; len(ids) − answer_start answer tokens, end token included."""
    passages_kept: int = 0
    """How many of the prompt's passages fit."""

    @property
    def answer_ids(self) -> tuple[int, ...]:
        return self.ids[self.answer_start :]
