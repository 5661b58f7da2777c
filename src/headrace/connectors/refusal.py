"""What a sink says when the other side takes all records but some."""

from collections.abc import Sequence
from dataclasses import dataclass

from headrace.foundation.errors import FinalError
from headrace.log.record import Record


@dataclass(frozen=True, slots=True)
class Refused:
    """A record that the other side will never take."""

    record: Record
    reason: str


class RefusedRecordsError(FinalError):
    """Raised by `Sink.prepare` after every other record was delivered.

    The stage writes a dead letter for each of `refused` and calls `prepare` again, which then has nothing left to send.
    """

    def __init__(self, message: str, refused: Sequence[Refused], *, where: str | None = None) -> None:
        super().__init__(message, where=where, next_step="look at the dead letters, mend the receiver, and replay them")
        self.refused = tuple(refused)
