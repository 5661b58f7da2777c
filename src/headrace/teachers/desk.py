"""The desk in front of a teacher: asks once for equal prompts, and stores every answer that arrives, even if its asker is gone."""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from headrace.events.example import Price
from headrace.events.message import Message
from headrace.foundation.clock import SYSTEM_CLOCK, Clock
from headrace.foundation.resource_id import ResourceId
from headrace.teachers.answer_cache import NO_PLACE, AskRecord, Cite, StoredAnswer
from headrace.teachers.answer_store import AnswerStore
from headrace.teachers.calls import Calls, Question
from headrace.teachers.desk_options import DeskOptions
from headrace.teachers.ledger import Spending
from headrace.teachers.teacher import AnsweredError, Teacher

PROBE = (Message("user", "Answer with one word: yes"),)
PROBE_TOKENS = 16
_ENCODER = msgspec.json.Encoder(order="deterministic")


@dataclass(frozen=True, slots=True)
class DeskAnswer:
    """An answer, and its cost to the owner that asked."""

    text: str
    model: str
    cached: bool
    price: Price


@dataclass(slots=True)
class _Asking:
    """A pending ask, and how many callers wait for it."""

    task: "asyncio.Task[StoredAnswer]"
    waiters: int = 0


class TeacherDesk:
    """Used from one event loop. Owns its teacher and its store; several desks' stores may share a file."""

    def __init__(self, teacher: Teacher, options: DeskOptions, store: AnswerStore, clock: Clock = SYSTEM_CLOCK) -> None:
        self._teacher, self._options, self._store, self._clock = teacher, options, store, clock
        self._calls = Calls(teacher, options, store, clock)
        self._on_the_way: dict[tuple[ResourceId, str], _Asking] = {}
        self._closing = False

    @property
    def calls_left(self) -> int:
        """Calls sent so far, numbered from 1."""
        return self._calls.left

    @property
    def last_answered(self) -> int:
        """The number of the latest call that was answered, even with a refusal; 0: none."""
        return self._calls.last_answered

    async def ask(
        self,
        messages: Sequence[Message],
        *,
        owner: ResourceId,
        max_output_tokens: int,
        cites: Sequence[Cite] = (),
        ask_id: str = "",
        place: int = NO_PLACE,
        fresh: bool = False,
        apart: bool = False,
    ) -> DeskAnswer:
        """The teacher's answer to this prompt, from the cache if it has been given before.

        `cites`: the document versions in the prompt; prompts are equal only if these are equal too, and
        `renew` sets the current ones. `ask_id`: the prompt's id; asking again with the same one, for example after a crash, gives the
        same answer at the same price as the first time, not marked as cached, or the same refusal. `place`: the prompt's offset,
        by which `prune` knows that it is not committed yet. `fresh`: ignores answers given to other asks; the
        new one replaces it in the cache. `apart`: takes known answers, but what it pays for is known only to others who ask apart,
        so that no ask's price depends on the order of arrival.

        Raises the errors listed in `teacher.py`: TeacherUnavailableError only after `attempts` calls or `give_up_seconds`.
        """
        known = AskRecord(
            self.key(owner.namespace, messages, max_output_tokens, cites), owner, ask_id, tuple(cites), place
        )
        ask = replace(known, key=f"apart/{known.key}") if apart else known
        own = self._store.given(ask)
        if isinstance(own, AnsweredError):
            raise own
        if own is not None:
            return _as_paid(own)
        if (asking := self._on_the_way.get((owner, ask.key))) is not None:
            answer = await self._follow(asking, ask)
        elif fresh or (answer := self._store.cached(known) or self._store.cached(ask)) is None:
            return _as_paid(await self._lead(Question(ask, messages, max_output_tokens)))
        await self._store.count_cached(owner)
        return DeskAnswer(answer.text, answer.model, cached=True, price=Price())

    def key(
        self, namespace: str, messages: Sequence[Message], max_output_tokens: int, cites: Sequence[Cite] = ()
    ) -> str:
        """The hash of everything an answer depends on (BLAKE2b, 16 bytes, hexadecimal).

        Namespace, provider, the teacher's identity (endpoint, model, API version, sampling), messages, limit of output tokens, cited
        versions. An edit elsewhere in a cited document leaves the prompt's text unchanged; it is still asked again.
        """
        teacher = (namespace, self._options.provider, dict(self._teacher.identity))
        prompt = (teacher, messages, max_output_tokens, sorted(set(cites)))
        return hashlib.blake2b(_ENCODER.encode(prompt), digest_size=16).hexdigest()

    async def probe(self, owner: ResourceId) -> None:
        """A health check: one small call, charged to the owner. Raises the errors listed in `teacher.py`."""
        ask = AskRecord("probe", owner)
        await self._calls.persist(Question(ask, PROBE, PROBE_TOKENS), attempts=1)

    async def renew(self, owner: ResourceId, versions: Mapping[str, str | None]) -> int:
        """Sets the current versions by document (None: deleted); the owner's answers based on others are not used again.

        Returns how many were stored. A pending answer that cites another version is returned to its asker but not stored.
        """
        return await self._store.renew(owner, versions)

    async def reconcile(self) -> int:
        """Counts expired reservations of dead processes as lost; returns how many."""
        return await self._store.reconcile(self._clock.now_ms())

    async def prune(self, owner: ResourceId, committed: int) -> int:
        """Deletes the owner's answers that exceed the limits, except for prompts at or after the offset `committed`; returns how many."""
        return await self._store.prune(owner, committed, self._options.keep, self._clock.now_ms())

    def spent(self, owner: ResourceId) -> Spending:
        """What this owner's answers have cost so far."""
        return self._store.spent(owner)

    async def close(self, grace_seconds: float = 0.0) -> None:
        """Waits up to this long for calls in progress, cancels all others, then closes the teacher and the store."""
        self._closing = True
        tasks = [asking.task for asking in self._on_the_way.values()]
        out = [task for task in tasks if self._calls.is_out(task)]
        for task in tasks:
            if not self._calls.is_out(task):
                task.cancel()
        if out and grace_seconds > 0:
            await asyncio.wait(out, timeout=grace_seconds)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._teacher.close()
        await self._store.close()

    async def _lead(self, question: Question) -> StoredAnswer:
        """Asks for every caller that arrives with this prompt while the answer is pending."""
        name = (question.ask.owner, question.ask.key)
        asking: _Asking

        def wanted() -> bool:
            return asking.waiters > 0 and not self._closing

        asking = _Asking(asyncio.create_task(self._calls.persist(question, wanted=wanted)))
        self._on_the_way[name] = asking

        def arrived(task: "asyncio.Task[StoredAnswer]") -> None:
            if self._on_the_way.get(name) is asking:
                del self._on_the_way[name]
            if not task.cancelled():
                task.exception()  # waiting callers have received it; there may be none left

        asking.task.add_done_callback(arrived)
        return await self._wait_for(asking)

    async def _follow(self, asking: _Asking, ask: AskRecord) -> StoredAnswer:
        """Waits for an answer that another ask pays for. A refusal is this ask's own outcome too."""
        try:
            return await self._wait_for(asking)
        except AnsweredError as error:
            await self._store.share_error(ask, error, self._clock.now_ms())
            raise

    async def _wait_for(self, asking: _Asking) -> StoredAnswer:
        """If no caller waits any more, a call in progress finishes; a call not yet sent is dropped."""
        asking.waiters += 1
        try:
            return await asyncio.shield(asking.task)
        finally:
            asking.waiters -= 1
            if asking.waiters == 0 and not asking.task.done() and not self._calls.is_out(asking.task):
                asking.task.cancel()


def _as_paid(answer: StoredAnswer) -> DeskAnswer:
    cost = answer.cost
    price = Price(cost.input_tokens, cost.output_tokens, cost.nano_usd / 1e9)
    return DeskAnswer(answer.text, answer.model, cached=False, price=price)
