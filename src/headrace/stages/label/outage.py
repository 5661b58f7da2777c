"""Distinguishes an outage of the teacher from a prompt that fails alone.

An ask has failed when the teacher gave no outcome after the desk's own retries (5xx, malformed answers, rejections). What counts:

1. If the teacher answers another call that left after the failure, a refusal included, it is well and the prompt is at fault: the
   failure counts as one attempt, and the prompt is asked again. After `maxAttempts` it is given up and becomes a dead letter that can
   be replayed. An answer ends the count.
2. If no call is under way that could show it, one small probe is sent. If it is answered, rule 1 holds.
3. If the probe fails too, the teacher is away: asking pauses, and two prompts at a time are asked until one is answered. No failure
   counts that came before that answer.
4. A rate limit and a spent budget are never the prompt's fault: nothing counts, and asking pauses as long as the teacher says.

While asking pauses, calls in flight continue and their answers are stored.
"""

from collections.abc import Iterable
from concurrent.futures import Future

from headrace.foundation.clock import Clock
from headrace.foundation.errors import HeadraceError
from headrace.foundation.resource_id import ResourceId
from headrace.stages.label.pending import Failed, Pending
from headrace.teachers.desk import TeacherDesk
from headrace.teachers.desk_thread import RunningDesk
from headrace.teachers.teacher import (
    AnsweredError,
    BudgetSpentError,
    TeacherRejectedError,
    TeacherUnavailableError,
    UnansweredError,
)

PAUSE_SECONDS = 2.0
LONGEST_PAUSE_SECONDS = 60.0
ASKED_WHILE_AWAY = 2
TROUBLE = (TeacherUnavailableError, TeacherRejectedError, BudgetSpentError)
"""Errors that are no outcome of the prompt."""


class OutageJudge:
    """Judges the failures of one finetuner's prompts."""

    def __init__(self, desk: RunningDesk, owner: ResourceId, max_attempts: int, clock: Clock) -> None:
        self._desk, self._owner, self._max_attempts, self._clock = desk, owner, max_attempts, clock
        self._probe: Future[Failed | None] | None = None
        self._away_until_call = 0
        self._well_since_call = 0
        self._away_since: float | None = None
        self._resume_at = 0.0
        self.trouble: HeadraceError | None = None
        """Why asking pauses; None: the teacher answers."""

    @property
    def probe(self) -> "Future[Failed | None] | None":
        """The probe under way."""
        return self._probe

    @property
    def pauses(self) -> bool:
        """Whether nothing may be asked now."""
        return self._clock.monotonic() < self._resume_at

    @property
    def away_ms(self) -> float:
        """How long the teacher has not answered."""
        return 0.0 if self._away_since is None else (self._clock.monotonic() - self._away_since) * 1000

    def may_ask(self, opened: int) -> bool:
        """Whether one more prompt may be asked beside those that have no outcome yet."""
        return not self.pauses and (self._away_since is None or opened < ASKED_WHILE_AWAY)

    def look(self, queue: Iterable[Pending]) -> None:
        """Judges the failures in the queue: each is asked again, given up, or left until there is evidence."""
        pending = list(queue)
        self._look_at_answers()
        failed = [(one, failure) for one in pending if (failure := one.failure) is not None]
        open_cases = [(one, failure) for one, failure in failed if not self._is_settled(one, failure)]
        if self._probe is not None and self._probe.done():
            self._take_probe(open_cases)
        elif not open_cases:
            return
        elif self._probe is None and not any(one.in_flight for one in pending):
            self._probe = self._desk.submit(self._ask_probe)

    def well(self) -> None:
        """An answer came: the teacher is back."""
        if self._away_since is not None:
            self._away_since = self.trouble = None
            self._well_since_call = self._desk.calls_left

    def _look_at_answers(self) -> None:
        if self._away_since is not None and self._desk.last_answered > self._away_until_call:
            self.well()

    def _is_settled(self, one: Pending, failure: Failed) -> bool:
        error = failure.error
        if isinstance(error, BudgetSpentError) or getattr(error, "rate_limited", False):
            one.asked = None
            self._pause(error)
        elif failure.calls_left < self._well_since_call:
            one.asked = None  # a failure of the outage that is over
        elif self._desk.last_answered > failure.calls_left:
            one.asked = None
            one.attempts += 1
            if one.attempts >= self._max_attempts:
                one.given_up = UnansweredError(
                    f"no answer in {one.attempts} attempts while the teacher answered other prompts: {error.message}",
                    where=error.where,
                )
        else:
            return False
        return True

    def _take_probe(self, open_cases: list[tuple[Pending, Failed]]) -> None:
        assert self._probe is not None
        failed, self._probe = self._probe.result(), None
        if failed is None or not open_cases:
            return  # where it was answered, the next look counts these failures
        for one, _ in open_cases:
            one.asked = None
        self._pause(open_cases[0][1].error)

    def _pause(self, error: HeadraceError) -> None:
        now = self._clock.monotonic()
        if self._away_since is None:
            self._away_since = now
        self._away_until_call = self._desk.calls_left
        wait = getattr(error, "retry_after_seconds", None) or PAUSE_SECONDS
        self._resume_at = max(self._resume_at, now + min(wait, LONGEST_PAUSE_SECONDS))
        self.trouble = error

    async def _ask_probe(self, desk: TeacherDesk) -> Failed | None:
        try:
            await desk.probe(self._owner)
        except AnsweredError:
            return None
        except TROUBLE as error:
            return Failed(error, desk.calls_left)
        return None
