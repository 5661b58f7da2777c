"""A prompt, or a sign, on its way to its place among the examples."""

from concurrent.futures import Future
from dataclasses import dataclass, field

from headrace.events import codec
from headrace.events.control import Control
from headrace.events.prompt import Prompt
from headrace.foundation.errors import FinalError, HeadraceError
from headrace.log.record import Record
from headrace.teachers.desk import DeskAnswer


@dataclass(frozen=True, slots=True)
class Failed:
    """The teacher gave no outcome: it does not answer, rejects the request, or the budget is used up."""

    error: HeadraceError
    calls_left: int
    """How many calls had left when this one failed: an answer to a later one shows that the teacher is well."""


Outcome = DeskAnswer | FinalError | Failed
"""A FinalError: refused, unusable, or given up; it becomes a dead letter."""


@dataclass(slots=True)
class Pending:
    """One record of `prompts`."""

    record: Record
    prompt: Prompt | None
    """None: a sign, which keeps its place, or a record to be passed, which leaves none."""
    changed: dict[str, str | None] = field(default_factory=dict[str, str | None])
    """What the sign says: by document the version that holds behind it, None where it is gone."""
    asked: "Future[Outcome] | None" = None
    given_up: FinalError | None = None
    attempts: int = 0
    """Failures while the teacher answered others."""

    @property
    def is_for_teacher(self) -> bool:
        """Whether the row does not hold its answer."""
        return self.prompt is not None and self.prompt.ground_truth is None

    @property
    def in_flight(self) -> bool:
        return self.asked is not None and not self.asked.done()

    @property
    def is_open(self) -> bool:
        """Asked, and without an outcome."""
        return self.asked is not None and self.waits

    @property
    def to_ask(self) -> bool:
        return self.is_for_teacher and self.asked is None and self.given_up is None

    @property
    def outcome(self) -> Outcome | None:
        """What has come of it so far. Raises what is nobody's outcome, such as a broken store."""
        if self.given_up is not None:
            return self.given_up
        return self.asked.result() if self.asked is not None and self.asked.done() else None

    @property
    def failure(self) -> Failed | None:
        outcome = self.outcome
        return outcome if isinstance(outcome, Failed) else None

    @property
    def waits(self) -> bool:
        """For its answer, or to be asked at all."""
        return self.is_for_teacher and (self.outcome is None or self.failure is not None)


def pending_of(record: Record) -> Pending:
    """The record as it waits in the queue."""
    if codec.is_passed(record):
        return Pending(record, None)
    if record.kind != codec.CONTROL:
        return Pending(record, codec.decode(record, Prompt))
    changes = codec.decode(record, Control).changes
    return Pending(record, None, {one.document: None if one.deleted else one.version for one in changes})
