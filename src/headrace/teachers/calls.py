"""Calls to a teacher: at the allowed pace, within the budget, retried after failures, each with a reservation and a settlement."""

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from headrace.events.message import Message
from headrace.foundation.clock import Clock
from headrace.foundation.errors import RetryableError
from headrace.teachers.answer_cache import AskRecord, StoredAnswer
from headrace.teachers.answer_store import AnswerStore
from headrace.teachers.desk_options import DeskOptions
from headrace.teachers.ledger import Budget, Cost, Reservation
from headrace.teachers.pacing import Gate, Pace
from headrace.teachers.teacher import (
    AnsweredError,
    RateLimits,
    Teacher,
    TeacherAnswer,
    TeacherRejectedError,
    TeacherUnavailableError,
)

_TOKENS_PER_MESSAGE = 16
"""Upper bound of the tokens a chat template adds per message."""
_BYTES_PER_TOKEN = 4
"""Typical bytes per token, for pacing only; the budget counts every byte as a token, an upper bound."""
WRITE_AGAIN_SECONDS = 0.5
"""Between attempts to record a call's outcome."""


@dataclass(frozen=True, slots=True)
class Question:
    """The request for an ask."""

    ask: AskRecord
    messages: Sequence[Message]
    max_output_tokens: int


class Calls:
    """All calls of one desk."""

    def __init__(self, teacher: Teacher, options: DeskOptions, store: AnswerStore, clock: Clock) -> None:
        self._teacher, self._options, self._store, self._clock = teacher, options, store, clock
        self._budget = Budget(options.budget_tokens, round(options.budget_usd * 1e9))
        self._slots = asyncio.Semaphore(options.concurrency)
        self._pace = Pace(options.requests_per_minute, clock)
        self._gate = Gate(clock)
        self._jitter = random.Random(options.seed)
        self._out: set[asyncio.Task[object] | None] = set()
        self.left = 0
        """Calls sent so far."""
        self.last_answered = 0
        """The number of the latest call that was answered, even with a refusal."""

    def is_out(self, task: "asyncio.Task[StoredAnswer]") -> bool:
        """Whether the task has a call in progress: its money is reserved, and an answer that arrives must be stored."""
        return task in self._out

    async def persist(
        self, question: Question, *, wanted: Callable[[], bool] = lambda: True, attempts: int = 0
    ) -> StoredAnswer:
        """Calls until an answer comes, the options (or `attempts`) say stop, nobody wants the answer any more, or the error is final."""
        attempts = attempts or self._options.attempts
        started: float | None = None
        attempt = billed = 0
        while True:
            attempt += 1
            async with self._slots:
                await self._pace.take()
                if started is None:
                    started = self._clock.monotonic()
                left = self._options.give_up_seconds - (self._clock.monotonic() - started)
                try:
                    return await self._call(question, left)
                except TeacherUnavailableError as error:
                    billed += error.maybe_billed
                    wait = self._wait_after(error, attempt)
                    elapsed = self._clock.monotonic() - started
                    if attempt >= attempts or billed >= self._options.billed_attempts or not wanted():
                        raise
                    if elapsed + wait > self._options.give_up_seconds:
                        raise
            await asyncio.sleep(wait)

    def _wait_after(self, error: TeacherUnavailableError, attempt: int) -> float:
        """The pause the teacher requested, otherwise exponential back-off, half of it random jitter."""
        if error.retry_after_seconds is not None:
            return error.retry_after_seconds
        options = self._options
        backoff = min(options.longest_backoff_seconds, options.first_backoff_seconds * 2 ** (attempt - 1))
        return backoff * (0.5 + 0.5 * self._jitter.random())

    async def _call(self, question: Question, give_up_seconds: float) -> StoredAnswer:
        """One call, from the rate limiter to its settlement."""
        estimate = self._upper_estimate(question)
        tokens = estimate.input_tokens / _BYTES_PER_TOKEN + question.max_output_tokens
        await self._gate.enter(tokens, give_up_seconds)
        task = asyncio.current_task()
        self._out.add(task)
        try:
            return await self._paid_call(question, estimate, tokens)
        finally:
            self._out.discard(task)

    async def _paid_call(self, question: Question, estimate: Cost, tokens: float) -> StoredAnswer:
        limits: RateLimits | None = None
        try:
            now_ms = self._clock.now_ms()
            expires_at_ms = now_ms + round(self._options.reservation_seconds * 1000)
            reservation = await self._store.reserve(question.ask.owner, estimate, self._budget, now_ms, expires_at_ms)
            self.left += 1
            number = self.left
            answer = await self._answer(reservation, question, number)
            limits = answer.limits
        finally:
            self._gate.leave(tokens, limits)
        stored = StoredAnswer(answer.text, answer.model, self._cost(answer.input_tokens, answer.output_tokens))
        await _until_written(lambda: self._store.settle(reservation, question.ask, stored, self._clock.now_ms()))
        return stored

    async def _answer(self, reservation: Reservation, question: Question, number: int) -> TeacherAnswer:
        """Calls the teacher; if no answer comes, settles the reservation at the failure's cost.

        If the call was cancelled midway, the reservation stays open and counts as lost once it expires.
        """
        store = self._store
        try:
            answer = await self._teacher.answer(question.messages, max_output_tokens=question.max_output_tokens)
            self.last_answered = max(self.last_answered, number)
            return answer
        except TeacherUnavailableError as error:
            if error.retry_after_seconds is not None:
                self._gate.pause(error.retry_after_seconds)
            close = store.lose if error.maybe_billed else store.release
            await _until_written(lambda: close(reservation))
            raise
        except TeacherRejectedError:
            await _until_written(lambda: store.release(reservation))
            raise
        except AnsweredError as answered:
            error, billed = answered, answered.billed
            self.last_answered = max(self.last_answered, number)
            cost = (
                self._cost(billed.input_tokens, billed.output_tokens)
                if billed
                else self._cost(reservation.cost.input_tokens, 0)
            )
            now_ms = self._clock.now_ms()
            await _until_written(lambda: store.settle_error(reservation, question.ask, error, cost, now_ms))
            raise

    def _upper_estimate(self, question: Question) -> Cost:
        """No tokenizer produces more tokens than a text has bytes."""
        length = sum(len(message.content.encode()) + _TOKENS_PER_MESSAGE for message in question.messages)
        return self._cost(length, question.max_output_tokens)

    def _cost(self, input_tokens: int, output_tokens: int) -> Cost:
        """Dollars per million tokens equal thousands of nano-dollars per token; fractions round up."""
        options = self._options
        nano_usd = 1000 * (
            input_tokens * options.usd_per_million_input_tokens + output_tokens * options.usd_per_million_output_tokens
        )
        return Cost(input_tokens, output_tokens, math.ceil(round(nano_usd, 3)))


async def _until_written(write: Callable[[], Awaitable[None]]) -> None:
    """Retries recording an outcome until the disk accepts it: it was paid for."""
    while True:
        try:
            return await write()
        except RetryableError:
            await asyncio.sleep(WRITE_AGAIN_SECONDS)
