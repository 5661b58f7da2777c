"""The port to a teacher for reasking about examples already learned. `stages/train` implements it."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from headrace.events.example import Example
from headrace.events.message import Passage
from headrace.learning.fresh import Fresh


class Reasked(msgspec.Struct, frozen=True):
    """A prompt's answer with passages other than the original ones."""

    answer: str
    passages: list[Passage]


class Reasking(msgspec.Struct, frozen=True):
    """What was reasked at one sign."""

    answers: dict[str, Reasked] = {}
    """By example id; those that the teacher did not answer are left out."""
    missing: str = ""
    """Why some are left out: the first reason."""


class Reasker(Protocol):
    """Gives the same answers at the same offset every time, without asking twice."""

    @property
    def can_ask(self) -> bool:
        """Whether there is a teacher."""
        ...

    @property
    def can_search(self) -> bool:
        """Whether it can also find a prompt's current passages."""
        ...

    def example(self, item: Fresh) -> Example | None:
        """The full example behind a tokenized one; if it was reasked, with the passages used then. None: no longer in the log."""
        ...

    def reask(self, items: Sequence[Fresh], at_offset: int) -> dict[str, str]:
        """New answers to the same prompts, by example id; those that the teacher did not answer are left out."""
        ...

    def reask_with_new_passages(self, items: Sequence[Fresh], at_offset: int, at_ms: int) -> Reasking:
        """New answers with the passages found as of `at_ms`."""
        ...

    def still_said(self, items: Sequence[Fresh], current: Mapping[str, str | None], at_ms: int) -> frozenset[str]:
        """Ids of the examples whose passages are still, word for word, in the changed documents."""
        ...
