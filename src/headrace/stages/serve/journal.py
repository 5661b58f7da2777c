"""The journal of answers: between the event loop, which never waits for a disk, and the log, which may refuse for a while.

An answer goes into a bounded queue in memory. A thread of its own writes what is queued to the journal's file, one fsync for
all that came meanwhile. The stage commits the file's answers to the log and removes them. What the file refuses stays in
memory, what the log refuses stays in the file; both are tried again. Beyond the bounds an answer is dropped and counted, or,
where answers are required, refused.

A kill loses the answers that no fsync had covered yet: without `required`, those given during the last fsync, a few
milliseconds; with `required`, none whose last byte was sent.
"""

import asyncio
import threading
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from headrace.events import codec
from headrace.events.answer import Answer
from headrace.foundation.clock import SYSTEM_CLOCK, Clock
from headrace.foundation.errors import UnavailableError
from headrace.foundation.resource_id import ResourceId
from headrace.log.record import NewRecord
from headrace.stages.serve.answer_counts import AnswerCounts, say_error
from headrace.stages.serve.journal_file import JournalFile, JournalledAnswer

BATCH = 1_000
BATCH_BYTES = 16 << 20
RETRY_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class JournalLimits:
    """What the journal may hold."""

    answers: int = 100_000
    bytes: int = 256 << 20
    unwritten: int = 10_000
    """Answers in memory that the file does not have yet."""
    unwritten_bytes: int = 64 << 20
    remembered: int = 100_000
    """Ids of kept answers that feedback finds without asking the log."""


@dataclass(slots=True, eq=False)
class _Queued:
    """An answer in memory, and what waits for it to be written."""

    answer: JournalledAnswer
    written: Future[None]


class AnswerJournal:
    """`AnswerSink` with a bounded, durable journal behind it. Outlives the stage that empties it. Safe from several threads."""

    def __init__(
        self,
        state: Path,
        *,
        required: bool = False,
        limits: JournalLimits | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """`required`: an answer that cannot be kept is an error. Answers of a former process are still in the file."""
        self._limits, self._clock, self._required = limits or JournalLimits(), clock, required
        self._file = JournalFile(state)
        self._changed = threading.Condition()
        self._queue: deque[_Queued] = deque()
        self._recent: OrderedDict[str, None] = OrderedDict()
        self._counts = AnswerCounts(*self._file.sizes(), clock)
        self._unwritten_bytes = 0
        self._trouble, self._closing = "", False
        if self._file.damaged:
            say_error(
                f"the journal of answers was damaged and is now {self._file.damaged}; its answers are not in the log"
            )
        self._writer = threading.Thread(target=self._write, name="answer-journal", daemon=True)
        self._writer.start()

    @property
    def waiting(self) -> Mapping[ResourceId, int]:
        """Answers per model that the log does not have yet."""
        with self._changed:
            return dict(self._counts.waiting)

    @property
    def dropped(self) -> Mapping[ResourceId, int]:
        """Answers per model, since the process began, that are in no topic and never will be."""
        with self._changed:
            return dict(self._counts.dropped)

    @property
    def bytes(self) -> int:
        """Of all answers that the log does not have yet."""
        return self._counts.bytes

    @property
    def trouble(self) -> str:
        """Why the file cannot be written; '': it can."""
        return self._trouble

    def refusal(self) -> UnavailableError | None:
        """AnswerSink: where answers are required, why one could not be kept now."""
        if not self._required:
            return None
        with self._changed:
            reason = self._trouble or self._full(0)
        return _refused(reason) if reason else None

    async def keep(self, model: ResourceId, answers: Mapping[str, Answer]) -> None:
        """AnswerSink: see there."""
        queued = self._put([self._journalled(model, answer_id, answer) for answer_id, answer in answers.items()])
        if self._required:
            for one in queued:
                await asyncio.wrap_future(one.written)

    def knows(self, answer_id: str) -> bool:
        """Whether an answer was kept lately, or waits in the file."""
        with self._changed:
            if answer_id in self._recent:
                return True
        return self._file.holds(answer_id)

    def first(self, count: int = BATCH) -> list[JournalledAnswer]:
        """The oldest answers in the file, for the log."""
        return self._file.first(count, BATCH_BYTES)

    def remove(self, answers: Sequence[JournalledAnswer], *, refused: Mapping[int, str] | None = None) -> None:
        """Forgets what `first` gave: the log has it. `refused`: by number, why the log never takes these."""
        self._file.remove_up_to(answers[-1].number)
        with self._changed:
            for one in answers:
                self._counts.forget(one)
                if reason := (refused or {}).get(one.number):
                    self._counts.drop(one, reason)

    def flush(self) -> bool:
        """Waits until the file has everything; False where it cannot be written."""
        with self._changed:
            self._changed.wait_for(lambda: not self._queue or bool(self._trouble))
            return not self._queue

    def close(self) -> None:
        """Writes what is in memory, with one last try where the file refuses, and counts what is lost."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._writer.join()
        with self._changed:
            while self._queue:
                self._refuse(self._pop(), self._trouble)
        self._file.close()

    def _journalled(self, model: ResourceId, answer_id: str, answer: Answer) -> JournalledAnswer:
        value = codec.encode(answer)
        return JournalledAnswer(
            model, NewRecord(answer_id, codec.kind_of(answer), value, self._clock.now_ms(), key=answer_id)
        )

    def _put(self, answers: Sequence[JournalledAnswer]) -> list[_Queued]:
        """Queues all of one request's, or refuses all."""
        queued = [_Queued(answer, Future()) for answer in answers]
        with self._changed:
            reason = self._full(sum(answer.bytes for answer in answers))
            for one in queued:
                one.written.set_running_or_notify_cancel()  # a client that leaves must not cancel what the writer resolves
                self._counts.wait(one.answer)
                if reason:
                    self._refuse(one, reason)
                else:
                    self._queue.append(one)
                    self._unwritten_bytes += one.answer.bytes
                    self._remember(one.answer.record.id)
            self._changed.notify_all()
        return queued

    def _full(self, size: int) -> str:
        limits, waiting, held = self._limits, self._counts.waiting.total(), self._counts.bytes
        if self._closing:
            return "the server is shutting down"
        if waiting >= limits.answers or held + size > limits.bytes:
            return f"the journal is full: {waiting} answers ({held} bytes) are waiting for the log"
        if len(self._queue) >= limits.unwritten or self._unwritten_bytes + size > limits.unwritten_bytes:
            return f"{len(self._queue)} answers are waiting in memory for the journal's file. {self._trouble}".rstrip()
        return ""

    def _write(self) -> None:
        """The writer's thread. An empty batch, after trouble, finds out whether the file can be written again."""
        while (batch := self._next_batch()) is not None:
            try:
                self._file.append([one.answer for one in batch])
            except Exception as error:  # noqa: BLE001 - the thread must not end unseen: every failure is shown and tried again
                if not self._failed(batch, f"{error}"):
                    return
            else:
                self._written(batch)

    def _next_batch(self) -> list[_Queued] | None:
        with self._changed:
            probe_after = RETRY_SECONDS if self._trouble else None
            self._changed.wait_for(lambda: self._queue or self._closing, probe_after)
            return None if self._closing and not self._queue else list(islice(self._queue, BATCH))

    def _written(self, batch: list[_Queued]) -> None:
        with self._changed:
            self._trouble = ""
            for _ in batch:
                self._pop()
            self._changed.notify_all()
        for one in batch:
            one.written.set_result(None)

    def _failed(self, batch: list[_Queued], reason: str) -> bool:
        """Keeps the batch in memory, or refuses it where answers are required. False: there will be no other try."""
        with self._changed:
            self._trouble = reason
            for _ in batch if self._required else ():
                self._refuse(self._pop(), reason)
            self._changed.notify_all()
            return not self._changed.wait_for(lambda: self._closing, RETRY_SECONDS)

    def _pop(self) -> _Queued:
        one = self._queue.popleft()
        self._unwritten_bytes -= one.answer.bytes
        return one

    def _refuse(self, one: _Queued, reason: str) -> None:
        self._recent.pop(one.answer.record.id, None)
        self._counts.forget(one.answer)
        self._counts.drop(one.answer, reason)
        one.written.set_exception(_refused(reason))

    def _remember(self, answer_id: str) -> None:
        self._recent[answer_id] = None
        if len(self._recent) > self._limits.remembered:
            self._recent.popitem(last=False)


def _refused(reason: str) -> UnavailableError:
    return UnavailableError(
        f"the answer cannot be recorded, and answers are required: {reason}",
        next_step="retry in a moment",
        retry_after_seconds=1,
    )
