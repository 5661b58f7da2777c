"""The ledger balances with what the provider bills: billed = stored + lost, over kills, outages, refusals, retries, duplicates, budget ends."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from headrace.events.message import Message
from headrace.foundation.errors import HeadraceError
from headrace.foundation.resource_id import ResourceId
from headrace.teachers.answer_store import AnswerStore
from headrace.teachers.desk import TeacherDesk
from headrace.teachers.ledger import Spending
from headrace.teachers.teacher import (
    RefusedError,
    TeacherAnswer,
    TeacherUnavailableError,
    UnusableAnswerError,
    Usage,
)

OWNER = ResourceId("StreamFinetuner", "default", "f")
OUTPUT_MAX = 8
PROMPTS = 12
ESTIMATE = len(b"q00") + 16 + OUTPUT_MAX
CONCURRENCY = 4


class Killed(BaseException):
    """The process is dead."""


@dataclass
class Provider:
    """Bills at the moment a request arrives, whether anybody receives the answer or not."""

    draw: random.Random
    billed_calls: int = 0
    billed_tokens: int = 0
    cut_calls: int = 0
    cut_off: bool = False
    """The client is dead: nothing that arrives now was received."""
    final: set[str] = field(default_factory=set)
    """Prompts of which an outcome was stored."""
    asked_again: list[str] = field(default_factory=list)
    identity: dict[str, str] = field(default_factory=lambda: {"model": "m"})

    async def answer(self, messages: Sequence[Message], *, max_output_tokens: int) -> TeacherAnswer:
        text = messages[-1].content
        if text in self.final:
            self.asked_again.append(text)
        outcome = self.draw.choice(["ok", "ok", "ok", "refused", "unusable", "away", "limited", "cut"])
        usage = Usage(self.draw.randint(3, 19), self.draw.randint(1, max_output_tokens))
        seconds = self.draw.uniform(0.05, 4.0)
        if outcome not in {"away", "limited"}:
            self.billed_calls += 1
            self.billed_tokens += usage.input_tokens + usage.output_tokens
        await asyncio.sleep(seconds)
        match outcome:
            case "ok":
                return TeacherAnswer(f"answer to {text}", "m-1", usage.input_tokens, usage.output_tokens)
            case "refused":
                raise RefusedError("no", billed=usage)
            case "unusable":
                raise UnusableAnswerError("empty", billed=usage)
            case "away":
                raise TeacherUnavailableError("500")
            case "limited":
                raise TeacherUnavailableError("429", retry_after_seconds=self.draw.uniform(0.1, 40), rate_limited=True)
            case _:
                self.cut_calls += 1
                raise TeacherUnavailableError("cut", maybe_billed=True)

    async def close(self) -> None:
        return None


def total(spent: Spending) -> int:
    return spent.input_tokens + spent.output_tokens + spent.open_tokens + spent.lost_tokens


class World:
    """One state directory and one provider, over several lives of the process."""

    def __init__(self, desks, seed: int) -> None:
        self.desks, self.draw = desks, random.Random(seed)
        self.provider = Provider(self.draw)
        self.budget = self.draw.choice([0, 0, 6 * ESTIMATE, 30 * ESTIMATE])
        self.outcomes: dict[str, str] = {}

    def open(self) -> tuple[TeacherDesk, AnswerStore]:
        store = self.desks.store()
        options = {"concurrency": CONCURRENCY, "budget_tokens": self.budget, "reservation_seconds": 250.0}
        return self.desks.desk(self.provider, store, **options), store

    def check(self, spent: Spending) -> None:
        assert min(spent.calls, spent.open_reservations, spent.open_tokens, spent.lost_tokens, spent.killed_calls) >= 0
        assert spent.open_reservations <= CONCURRENCY * 4, "one window for each life that may have died"
        assert not self.budget or total(spent) <= self.budget
        assert self.provider.billed_tokens <= total(spent)

    async def one(self, desk: TeacherDesk, number: int) -> None:
        """Two ids ask with the same words now and then."""
        text = f"q{number // 2 if number % 5 == 0 else number:02d}"
        ask_id = f"p{number}"
        try:
            answer = await desk.ask([Message("user", text)], owner=OWNER, max_output_tokens=OUTPUT_MAX, ask_id=ask_id)
            outcome = answer.text
        except (RefusedError, UnusableAnswerError) as error:
            outcome = type(error).__name__
        except HeadraceError:
            return
        assert self.outcomes.setdefault(ask_id, outcome) == outcome, "the same ask always has the same outcome"
        if outcome.startswith("answer"):
            self.provider.final.add(text)

    async def life(self, ends: str) -> None:
        desk, store = self.open()
        tasks = [asyncio.create_task(self.one(desk, number)) for number in range(PROMPTS)]
        for _ in range(self.draw.randint(1, 12)):
            await asyncio.sleep(self.draw.uniform(0.0, 3.0))
            self.check(desk.spent(OWNER))
        if ends == "kill":
            store._file.close()
            raise Killed
        if ends == "close":
            await desk.close(grace_seconds=self.draw.choice([0.0, 2.0, 5.0]))
            await asyncio.gather(*tasks, return_exceptions=True)
            return
        await asyncio.gather(*tasks)
        self.check(desk.spent(OWNER))
        await desk.close()

    async def settled(self) -> Spending:
        """Long after."""
        desk, _ = self.open()
        await asyncio.sleep(100_000.0)
        await desk.reconcile()
        spent = desk.spent(OWNER)
        await desk.close()
        return spent


@pytest.mark.parametrize("seed", range(40))
def test_what_the_provider_bills_is_stored_or_named_as_lost(desks, seed: int):
    world = World(desks, seed)
    clean = seed % 4 == 0
    lives = ["end"] * 2 if clean else [world.draw.choice(["kill", "close", "end"]) for _ in range(4)]
    for ends in lives:
        try:
            desks.run(lambda ends=ends: world.life(ends))
        except Killed:
            continue
    spent = desks.run(world.settled)
    provider = world.provider
    world.check(spent)
    assert (spent.open_reservations, spent.open_tokens) == (0, 0)
    assert provider.asked_again == []
    assert spent.broken_calls <= provider.cut_calls
    assert spent.calls <= provider.billed_calls <= spent.calls + spent.killed_calls + spent.broken_calls
    if "kill" not in lives and "close" not in lives:
        assert spent.killed_calls == 0
        assert provider.billed_calls == spent.calls + spent.broken_calls
