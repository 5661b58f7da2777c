"""The port for comparing models, as learning needs it. `stages/train` connects it with promotion."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from headrace.events.decision import Decision
from headrace.learning.fresh import Fresh

SERVED, PREVIOUS, CANDIDATE = "served", "previous", "candidate"
"""Slots of frozen models."""


@dataclass(frozen=True, slots=True)
class Scored:
    """One model's result on one example."""

    exact: bool
    loss: float
    """Nats per answer token."""
    predicted: str


Scores = Mapping[str, Mapping[str, Scored]]
"""By slot, then by example id."""


class Judge(Protocol):
    """Cuts candidates from the learner's average, and moves slots as it decides. Every method returns the decisions to record."""

    def frozen(self) -> Mapping[str, str]:
        """By slot, the version of every frozen model that scores now, `served` first."""
        ...

    def answered(self, answer: str) -> None:
        """An example's answer has arrived."""
        ...

    def metric(self, answer: str, scored: Scored) -> float:
        """One example's score in [0, 1]."""
        ...

    def weigh(self, items: Sequence[Fresh], scores: Scores) -> list[Decision]:
        """Compares the models row by row, before the rows are learned."""
        ...

    def answers_changed(self, offset: int, examples: int) -> list[Decision]:
        """The basis of a candidate's trial has changed. `examples`: learned so far."""
        ...

    def due(self, learned: int, examples: int) -> bool:
        """Whether to cut a candidate now that `learned` more examples, `examples` in total, are learned."""
        ...

    def cut(self, offset: int, knowledge: str) -> Decision:
        """Freezes a candidate after the example at `offset`. `knowledge`: the generation of its newest example's passages."""
        ...
