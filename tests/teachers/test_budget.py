"""The budget: never passed, whatever happens at the same time, and not forgotten by kills."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.events.message import Message
from headrace.foundation.errors import HeadraceError
from headrace.foundation.resource_id import ResourceId
from headrace.teachers.answer_store import AnswerStore
from headrace.teachers.desk import TeacherDesk
from headrace.teachers.desk_options import DeskOptions
from headrace.teachers.teacher import BudgetSpentError, RefusedError, TeacherUnavailableError, Usage

F, G = (ResourceId("StreamFinetuner", "default", name) for name in "fg")
ESTIMATE = len(b"hello") + 16 + 8
"""Of `ask`'s prompt: bytes, the message's frame, the limit of output."""


def ask(desk: TeacherDesk, text: str = "hello", **more: Any):
    return desk.ask([Message("user", text)], **{"owner": F, "max_output_tokens": 8, **more})


def test_the_budget_in_tokens_stops_the_next_call_before_it_is_made(desks):
    teacher = desks.scripted()

    async def main(desk: TeacherDesk):
        await ask(desk, "hello")
        with pytest.raises(BudgetSpentError, match=r"15 of 40 tokens.*29 tokens.*spec\.teacher\.budget"):
            await ask(desk, "other")
        return await ask(desk, "hello"), await ask(desk, "other", owner=G)

    cached, others = desks.use(teacher, main, budget_tokens=40)
    assert cached.cached
    assert not others.cached
    assert teacher.asked == ["hello", "other"]


def test_the_budget_in_dollars_counts_both_prices(desks):
    async def main(desk: TeacherDesk):
        await ask(desk, "hello")
        with pytest.raises(BudgetSpentError, match=r"0\.0300 of 0\.0600 USD"):
            await ask(desk, "other")
        return desk.spent(F)

    options = {"usd_per_million_input_tokens": 1000.0, "usd_per_million_output_tokens": 4000.0}
    spent = desks.use(desks.scripted(), main, budget_usd=0.06, **options)
    assert spent.usd == pytest.approx(0.03)


def test_reservations_on_the_way_count_as_spent(desks):
    teacher = desks.scripted(seconds=1.0)

    async def main(desk: TeacherDesk):
        answers = await asyncio.gather(*(ask(desk, f"hell{n}") for n in range(4)), return_exceptions=True)
        return [type(answer).__name__ for answer in answers], await ask(desk, "hell3")

    kinds, later = desks.use(teacher, main, budget_tokens=2 * ESTIMATE + 5)
    assert kinds == ["DeskAnswer", "DeskAnswer", "BudgetSpentError", "BudgetSpentError"]
    assert later.text == "answer to hell3"


OUTCOMES = st.sampled_from(["ok", "ok", "ok", "outage", "cut", "refused", "cancel"])
ASKS = st.lists(
    st.tuples(st.integers(0, 8), st.floats(0, 3), st.floats(0.01, 3), OUTCOMES, st.booleans()), min_size=1, max_size=25
)


@settings(max_examples=60, deadline=None)
@given(asks=ASKS, tokens=st.integers(0, 12), concurrency=st.integers(1, 6))
def test_the_budget_is_never_passed_under_any_interleaving(virtual, asks, tokens, concurrency):
    budget = tokens * ESTIMATE // 2 + 1

    async def main(path: Path) -> None:
        stores = [AnswerStore(path, executor=virtual.executor()) for _ in range(2)]

        def check() -> None:
            spent = stores[0].spent(F)
            assert 0 <= spent.input_tokens + spent.output_tokens + spent.open_tokens + spent.lost_tokens <= budget
            assert spent.open_reservations >= 0
            assert spent.open_tokens >= 0

        class Watched:
            def __init__(self) -> None:
                self.identity = {"model": "m"}

            async def answer(self, messages: list[Message], *, max_output_tokens: int):
                check()
                _, _, seconds, outcome, _ = asks[int(messages[0].content[1:])]
                await asyncio.sleep(seconds)
                check()
                if outcome == "outage":
                    raise TeacherUnavailableError("500")
                if outcome == "cut":
                    raise TeacherUnavailableError("cut", maybe_billed=True)
                if outcome == "refused":
                    raise RefusedError("no", billed=Usage(3, 1))
                return virtual.answer(messages, max_output_tokens)

            async def close(self) -> None:
                return None

        options = DeskOptions("S", concurrency, budget_tokens=budget, attempts=2)
        two = [TeacherDesk(Watched(), options, store, virtual.clock) for store in stores]

        async def one(number: int) -> None:
            prompt, delay, seconds, outcome, second = asks[number]
            await asyncio.sleep(delay)
            task = asyncio.create_task(ask(two[second], f"q{prompt % len(asks):04d}"[:5]))
            if outcome == "cancel":
                await asyncio.sleep(seconds / 2)
                task.cancel()
            try:
                await task
            except (HeadraceError, asyncio.CancelledError):
                check()

        await asyncio.gather(*(one(number) for number in range(len(asks))))
        check()
        for desk in two:
            await desk.close()

    with tempfile.TemporaryDirectory() as folder:
        virtual.run(lambda: main(Path(folder) / "teachers.sqlite"))


CHILD = """
import asyncio, sys
from pathlib import Path
from headrace.events.message import Message
from headrace.foundation.failpoints import arm_from_environment
from headrace.teachers.answer_store import AnswerStore
from headrace.foundation.resource_id import ResourceId
from headrace.teachers.desk import TeacherDesk
from headrace.teachers.desk_options import DeskOptions
from headrace.teachers.teacher import TeacherAnswer

F = ResourceId("StreamFinetuner", "default", "f")

class Echo:
    identity = {"model": "m"}
    async def answer(self, messages, *, max_output_tokens):
        return TeacherAnswer("answer to " + messages[-1].content, "m-1", 10, 5)
    async def close(self): pass

async def main():
    store = AnswerStore(Path(sys.argv[1]))
    desk = TeacherDesk(Echo(), DeskOptions("Scripted"), store)
    await desk.ask([Message("user", "hello")], owner=F, max_output_tokens=8, ask_id="p1")
    await desk.close()

arm_from_environment()
asyncio.run(main())
"""


def run_child(path: Path, failpoint: str = "") -> int:
    environment = {**os.environ, "HEADRACE_FAILPOINT": f"{failpoint}:1"} if failpoint else dict(os.environ)
    return subprocess.run([sys.executable, "-c", CHILD, str(path)], env=environment, timeout=60, check=False).returncode


@pytest.mark.kill
@pytest.mark.parametrize(
    ("failpoint", "calls", "open_reservations"),
    [
        ("teacher.reserve.before", 0, 0),
        ("teacher.reserve.after", 0, 1),
        ("teacher.answer.before", 0, 1),
        ("teacher.answer.after", 1, 0),
    ],
)
def test_a_kill_leaves_either_the_answer_or_its_reservation(desks, failpoint, calls, open_reservations):
    assert run_child(desks.path, failpoint) == -signal.SIGKILL
    teacher = desks.scripted()

    async def after(desk: TeacherDesk):
        return desk.spent(F), await ask(desk, ask_id="p1"), desk.spent(F)

    before, answer, spent = desks.use(teacher, after)
    assert (before.calls, before.open_reservations) == (calls, open_reservations)
    assert before.open_tokens == open_reservations * ESTIMATE
    assert (answer.text, answer.cached, answer.price.input_tokens) == ("answer to hello", False, 10)
    assert len(teacher.calls) == 1 - calls
    assert (spent.calls, spent.open_reservations) == (1, open_reservations)


@pytest.mark.kill
def test_the_reservation_of_a_killed_process_still_counts_against_the_budget(desks):
    assert run_child(desks.path, "teacher.reserve.after") == -signal.SIGKILL

    async def after(desk: TeacherDesk):
        with pytest.raises(BudgetSpentError, match="29 of 50 tokens"):
            await ask(desk)

    desks.use(desks.scripted(), after, budget_tokens=50)


@pytest.mark.kill
def test_an_undisturbed_process_leaves_its_answer_to_the_next(desks):
    assert run_child(desks.path) == 0
    teacher = desks.scripted()
    assert desks.use(teacher, ask).cached
    assert teacher.calls == []
