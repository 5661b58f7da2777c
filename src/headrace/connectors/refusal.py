"""How a sink reports a receiver that responds but does not accept the records."""

from collections.abc import Sequence
from dataclasses import dataclass

from headrace.foundation.errors import FinalError, RetryableError
from headrace.log.record import Record


@dataclass(frozen=True, slots=True)
class Refused:
    """A record that the receiver will never accept."""

    record: Record
    reason: str


class RefusedRecordsError(FinalError):
    """Raised by `Sink.prepare` after every other record was delivered.

    The stage writes a dead letter for each of `refused` and calls `prepare` again, which then has nothing left to send.
    """

    def __init__(self, message: str, refused: Sequence[Refused], *, where: str | None = None) -> None:
        super().__init__(message, where=where, next_step="inspect the dead letters, fix the receiver, then replay them")
        self.refused = tuple(refused)


PAUSE_SECONDS = 30.0
"""Interval between attempts while the receiver rejects our requests."""


class ReceiverRejectsError(RetryableError):
    """The receiver says that we are wrong, not a record: all records wait, until the declaration or the receiver is corrected."""

    next_step_text = ""

    def __init__(self, message: str, *, where: str | None = None, retry_after_seconds: float | None = None) -> None:
        pause = max(PAUSE_SECONDS, retry_after_seconds or 0.0)
        super().__init__(message, where=where, next_step=self.next_step_text, retry_after_seconds=pause)


class ReceiverRejectsLoginError(ReceiverRejectsError):
    """It does not let us in."""

    next_step_text = "correct the credentials; the records wait and are sent afterwards"


class ReceiverRejectsRequestError(ReceiverRejectsError):
    """It does not take what we send at this address in this manner."""

    next_step_text = "correct the URL or the method; the records wait and are sent afterwards"
