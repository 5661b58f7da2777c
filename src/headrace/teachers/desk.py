"""The desk in front of a teacher: asks once for equal prompts, at the allowed pace, within the budget, and again after failures."""

import asyncio
import hashlib
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from headrace.events.example import Price
from headrace.events.message import Message
from headrace.foundation.clock import SYSTEM_CLOCK, Clock
from headrace.teachers.answer_store import (
    AnswerStore,
    AskRecord,
    Budget,
    Cite,
    Cost,
    Reservation,
    Spending,
    StoredAnswer,
)
from headrace.teachers.pacing import Gate, Pace
from headrace.teachers.teacher import (
    AnsweredError,
    RateLimits,
    Teacher,
    TeacherAnswer,
    TeacherOptions,
    TeacherRejectedError,
    TeacherUnavailableError,
)

_TOKENS_PER_MESSAGE = 16
"""Upper bound of what a chat template adds around a message."""
_BYTES_PER_TOKEN = 4
"""Usual length of a token, for pacing only; the budget counts every byte as a token, which is an upper bound."""
_ENCODER = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class DeskOptions:
    """`spec.teacher` of a finetuner, with the prices of its MegaModel."""

    provider: str
    """Part of the cache key, beside the model."""
    concurrency: int = 16
    requests_per_minute: float = 0.0
    """0: no limit but the provider's own."""
    budget_tokens: int = 0
    """Tokens, input and output together, that each finetuner may spend; 0: no limit."""
    budget_usd: float = 0.0
    usd_per_million_input_tokens: float = 0.0
    usd_per_million_output_tokens: float = 0.0
    attempts: int = 6
    """Calls for one ask until the caller learns of the outage."""
    give_up_seconds: float = 30.0
    """The same as a time, from the first call on."""
    first_backoff_seconds: float = 0.25
    longest_backoff_seconds: float = 8.0
    seed: int = 0
    """Of the jitter."""


@dataclass(frozen=True, slots=True)
class DeskAnswer:
    """An answer, and what it cost the finetuner that asked."""

    text: str
    model: str
    cached: bool
    price: Price


def desk_options(
    teacher: TeacherOptions,
    *,
    concurrency: int = 16,
    requests_per_minute: float = 0.0,
    budget_tokens: int = 0,
    budget_usd: float = 0.0,
) -> DeskOptions:
    """The options of a desk in front of this MegaModel."""
    return DeskOptions(
        provider=teacher.provider,
        concurrency=concurrency,
        requests_per_minute=requests_per_minute,
        budget_tokens=budget_tokens,
        budget_usd=budget_usd,
        usd_per_million_input_tokens=teacher.usd_per_million_input_tokens,
        usd_per_million_output_tokens=teacher.usd_per_million_output_tokens,
    )


@dataclass(slots=True)
class _Asking:
    """An ask on its way, and how many wait for it."""

    task: "asyncio.Task[StoredAnswer]"
    waiters: int = 0


class TeacherDesk:
    """Used from one event loop, and owns its teacher and its store; the stores of several desks may be one file."""

    def __init__(self, teacher: Teacher, options: DeskOptions, store: AnswerStore, clock: Clock = SYSTEM_CLOCK) -> None:
        self._teacher = teacher
        self._options = options
        self._store = store
        self._clock = clock
        self._budget = Budget(options.budget_tokens, round(options.budget_usd * 1e9))
        self._slots = asyncio.Semaphore(options.concurrency)
        self._pace = Pace(options.requests_per_minute, clock)
        self._gate = Gate(clock)
        self._jitter = random.Random(options.seed)
        self._on_the_way: dict[tuple[str, str], _Asking] = {}

    async def ask(
        self,
        messages: Sequence[Message],
        *,
        finetuner: str,
        max_output_tokens: int,
        cites: Sequence[Cite] = (),
        ask_id: str = "",
        fresh: bool = False,
        apart: bool = False,
    ) -> DeskAnswer:
        """The teacher's answer to this prompt, from the cache where it has been given before.

        `cites`: the document versions that the prompt was made from; only a prompt made from the same ones is the same, and
        `renew` says which hold. `ask_id`: the prompt's own id; asking again with the same one, after a crash say, gives the
        same answer at the same price as the first time, not marked as cached. `fresh`: does not take an answer that was
        given to another ask; the new one replaces it in the cache. `apart`: takes known answers, but what it pays for is known
        to others who ask apart alone, so that nobody's price depends on who came first.

        Raises what `teacher.py` draws: TeacherUnavailableError only after `attempts` calls or `give_up_seconds`.
        """
        known = AskRecord(self.key(messages, max_output_tokens, cites), finetuner, ask_id, tuple(cites))
        ask = replace(known, key=f"apart/{known.key}") if apart else known
        if (own := self._store.given(ask)) is not None:
            return _as_paid(own)
        if (asking := self._on_the_way.get((finetuner, ask.key))) is not None:
            answer = await self._wait_for(asking)
        elif fresh or (answer := self._store.cached(known) or self._store.cached(ask)) is None:
            return _as_paid(await self._lead(ask, messages, max_output_tokens))
        await self._store.count_cached(finetuner)
        return DeskAnswer(answer.text, answer.model, cached=True, price=Price())

    def key(self, messages: Sequence[Message], max_output_tokens: int, cites: Sequence[Cite] = ()) -> str:
        """The prompt's hash: provider, model, messages, limit of output tokens, cited versions (BLAKE2b, 16 bytes, hexadecimal).

        An edit elsewhere in a cited document leaves the text of a prompt as it was; its answer is asked anew all the same.
        """
        prompt: tuple[object, ...] = (self._options.provider, self._teacher.model, messages, max_output_tokens)
        if cites:
            prompt = (*prompt, sorted(set(cites)))
        return hashlib.blake2b(_ENCODER.encode(prompt), digest_size=16).hexdigest()

    async def renew(self, finetuner: str, versions: Mapping[str, str | None]) -> int:
        """These versions hold from now on, by document (None: it is gone); answers made for the finetuner from others are not used again.

        How many were kept until now. An answer on its way that cites another version is given to who asked, and not kept.
        """
        return await self._store.renew(finetuner, versions)

    def spent(self, finetuner: str) -> Spending:
        """What this finetuner's answers have cost so far."""
        return self._store.spent(finetuner)

    async def close(self) -> None:
        """Ends what is on the way, then closes the teacher and the store."""
        tasks = [asking.task for asking in self._on_the_way.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._teacher.close()
        await self._store.close()

    async def _lead(self, ask: AskRecord, messages: Sequence[Message], max_output_tokens: int) -> StoredAnswer:
        """Asks for everybody who comes with this prompt while the answer is on its way."""
        name = (ask.finetuner, ask.key)
        asking = _Asking(asyncio.create_task(self._persist(ask, messages, max_output_tokens)))
        self._on_the_way[name] = asking

        def arrived(task: "asyncio.Task[StoredAnswer]") -> None:
            if self._on_the_way.get(name) is asking:
                del self._on_the_way[name]
            if not task.cancelled():
                task.exception()  # those who waited have it; nobody may be left who does

        asking.task.add_done_callback(arrived)
        return await self._wait_for(asking)

    async def _wait_for(self, asking: _Asking) -> StoredAnswer:
        """The call ends with the last one who waits for it."""
        asking.waiters += 1
        try:
            return await asyncio.shield(asking.task)
        finally:
            asking.waiters -= 1
            if asking.waiters == 0 and not asking.task.done():
                asking.task.cancel()

    async def _persist(self, ask: AskRecord, messages: Sequence[Message], max_output_tokens: int) -> StoredAnswer:
        """Calls until an answer comes, the options say stop, or the error is final."""
        estimate = self._upper_estimate(messages, max_output_tokens)
        started: float | None = None
        attempt = 0
        while True:
            attempt += 1
            async with self._slots:
                await self._pace.take()
                if started is None:
                    started = self._clock.monotonic()
                left = self._options.give_up_seconds - (self._clock.monotonic() - started)
                try:
                    return await self._call(ask, messages, max_output_tokens, estimate, left)
                except TeacherUnavailableError as error:
                    wait = self._wait_after(error, attempt)
                    elapsed = self._clock.monotonic() - started
                    if attempt >= self._options.attempts or elapsed + wait > self._options.give_up_seconds:
                        raise
            await asyncio.sleep(wait)

    def _wait_after(self, error: TeacherUnavailableError, attempt: int) -> float:
        """What the teacher asked for, else exponential back-off with jitter: half of it fixed, half drawn."""
        if error.retry_after_seconds is not None:
            return error.retry_after_seconds
        options = self._options
        backoff = min(options.longest_backoff_seconds, options.first_backoff_seconds * 2 ** (attempt - 1))
        return backoff * (0.5 + 0.5 * self._jitter.random())

    async def _call(
        self,
        ask: AskRecord,
        messages: Sequence[Message],
        max_output_tokens: int,
        estimate: Cost,
        give_up_seconds: float,
    ) -> StoredAnswer:
        """One call, between its reservation and its settlement."""
        tokens = estimate.input_tokens / _BYTES_PER_TOKEN + max_output_tokens
        await self._gate.enter(tokens, give_up_seconds)
        limits: RateLimits | None = None
        try:
            reservation = await self._store.reserve(ask.finetuner, estimate, self._budget, self._clock.now_ms())
            answer = await self._answer(reservation, messages, max_output_tokens)
            limits = answer.limits
        finally:
            self._gate.leave(tokens, limits)
        cost = self._cost(answer.input_tokens, answer.output_tokens)
        stored = StoredAnswer(answer.text, answer.model, cost)
        await self._store.settle(reservation, ask, stored, self._clock.now_ms())
        return stored

    async def _answer(
        self, reservation: Reservation, messages: Sequence[Message], max_output_tokens: int
    ) -> TeacherAnswer:
        """Calls the teacher; where no answer comes, the reservation becomes what the failure cost.

        It stays open where nobody can know: the connection broke, or the call was cancelled half-way.
        """
        try:
            return await self._teacher.answer(messages, max_output_tokens=max_output_tokens)
        except TeacherUnavailableError as error:
            if error.retry_after_seconds is not None:
                self._gate.pause(error.retry_after_seconds)
            if not error.maybe_billed:
                await self._store.release(reservation)
            raise
        except TeacherRejectedError:
            await self._store.release(reservation)
            raise
        except AnsweredError as error:
            billed = error.billed
            cost = (
                self._cost(billed.input_tokens, billed.output_tokens)
                if billed
                else self._cost(reservation.cost.input_tokens, 0)
            )
            await self._store.charge(reservation, cost)
            raise

    def _upper_estimate(self, messages: Sequence[Message], max_output_tokens: int) -> Cost:
        """No tokenizer makes more tokens than a text has bytes."""
        length = sum(len(message.content.encode()) + _TOKENS_PER_MESSAGE for message in messages)
        return self._cost(length, max_output_tokens)

    def _cost(self, input_tokens: int, output_tokens: int) -> Cost:
        """Dollars per million tokens are thousands of nano-dollars per token; a fraction counts as a whole one."""
        options = self._options
        nano_usd = 1000 * (
            input_tokens * options.usd_per_million_input_tokens + output_tokens * options.usd_per_million_output_tokens
        )
        return Cost(input_tokens, output_tokens, math.ceil(round(nano_usd, 3)))


def _as_paid(answer: StoredAnswer) -> DeskAnswer:
    cost = answer.cost
    price = Price(cost.input_tokens, cost.output_tokens, cost.nano_usd / 1e9)
    return DeskAnswer(answer.text, answer.model, cached=False, price=price)
