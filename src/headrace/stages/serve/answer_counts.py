"""What became of answers: how many of each model wait for the log, and how many are lost. Not safe from several threads."""

import sys
from collections import Counter
from collections.abc import Mapping

from headrace.foundation.clock import Clock
from headrace.foundation.resource_id import ResourceId
from headrace.stages.serve.journal_file import JournalledAnswer

SAY_SECONDS = 10.0


class AnswerCounts:
    """Counts per model; says on standard error, at most every ten seconds, that answers are lost."""

    def __init__(self, waiting: Mapping[ResourceId, int], waiting_bytes: int, clock: Clock) -> None:
        self.waiting, self.dropped = Counter(waiting), Counter[ResourceId]()
        self.bytes = waiting_bytes
        """Of the answers that wait."""
        self._clock, self._said_at = clock, -SAY_SECONDS

    def wait(self, answer: JournalledAnswer) -> None:
        """One more waits."""
        self.waiting[answer.model] += 1
        self.bytes += answer.bytes

    def forget(self, answer: JournalledAnswer) -> None:
        """It waits no longer."""
        self.waiting[answer.model] -= 1
        self.waiting += Counter()  # without those that are zero
        self.bytes = max(0, self.bytes - answer.bytes)

    def drop(self, answer: JournalledAnswer, reason: str) -> None:
        """It is in no topic and never will be."""
        self.dropped[answer.model] += 1
        now = self._clock.monotonic()
        if now - self._said_at >= SAY_SECONDS:
            self._said_at = now
            say_error(f"answers are dropped ({self.dropped.total()} so far): {reason}")


def say_error(text: str) -> None:
    """A line of the role's log."""
    sys.stderr.write(f"error: {text}\n")
    sys.stderr.flush()
