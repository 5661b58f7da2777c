"""A mistake in a declaration: where it is, what is wrong, what is valid."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from headrace.foundation.errors import sentence


@dataclass(frozen=True, slots=True, order=True)
class Mistake:
    """One wrong thing in one file. Sorts by place; `str()` is the line that people read."""

    file: str
    line: int
    """from 1; 0: the file as a whole"""
    column: int
    """from 1"""
    path: str
    """Where in the resource, such as `StreamFinetuner/desk: spec.trainer.batchSize`; '' outside of one."""
    message: str
    valid_values: tuple[str, ...] = ()
    nearest: str | None = None
    """The most similar valid value."""
    hint: str | None = None
    """The next step, as an imperative sentence."""

    @property
    def where(self) -> str:
        """`file:line:column`, as editors and terminals turn into links."""
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file

    def __str__(self) -> str:
        head = f"{self.where}: {self.path}: {self.message}" if self.path else f"{self.where}: {self.message}"
        if self.nearest:
            head += f"; did you mean {self.nearest!r}?"
        if self.valid_values:
            head += f" (valid: {', '.join(self.valid_values)})"
        return f"{head} — {sentence(self.hint)}" if self.hint else head


def nearest(word: str, valid: Iterable[str]) -> str | None:
    """The valid word most similar to `word`, ignoring case; None if none is similar."""
    by_lower = {candidate.lower(): candidate for candidate in valid}
    found = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def listed(words: Sequence[str], most: int = 24) -> tuple[str, ...]:
    """The words for a message: all of them, or the first `most` and how many more there are."""
    return tuple(words) if len(words) <= most else (*words[:most], f"… {len(words) - most} more")
