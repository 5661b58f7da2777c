"""Virtual time for asyncio, and a teacher that follows a script."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest

from headrace.events.message import Message
from headrace.teachers.answer_store import AnswerStore
from headrace.teachers.desk import TeacherDesk
from headrace.teachers.desk_options import DeskOptions
from headrace.teachers.teacher import RateLimits, TeacherAnswer
from headrace.testing.virtual_loop import InlineExecutor, LoopClock, run_virtually

Result = TypeVar("Result")
Step = str | Exception | Callable[[], Awaitable[str]]


class ScriptedTeacher:
    """Plays its steps, one a call, then answers the last message back; keeps the times of its calls."""

    def __init__(
        self, *steps: Step, seconds: float = 0.0, model: str = "m", limits: RateLimits | None = None, **identity: str
    ) -> None:
        self.steps = list(steps)
        self.seconds = seconds
        self.model = model
        self.identity = {"model": model, **identity}
        self.limits = limits or RateLimits()
        self.calls: list[float] = []
        self.asked: list[str] = []
        self.at_once = 0
        self.most_at_once = 0
        self.cancelled = 0
        self.closed = False

    async def answer(self, messages: Sequence[Message], *, max_output_tokens: int) -> TeacherAnswer:
        self.calls.append(asyncio.get_running_loop().time())
        self.asked.append(messages[-1].content)
        step = self.steps.pop(0) if self.steps else f"answer to {messages[-1].content}"
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.at_once -= 1
        if isinstance(step, Exception):
            raise step
        text = step if isinstance(step, str) else await step()
        return TeacherAnswer(text, f"{self.model}-1", 10, min(5, max_output_tokens), self.limits)

    async def close(self) -> None:
        self.closed = True


@pytest.fixture
def store_path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "teachers.sqlite"


class Desks:
    """Opens desks on one store file, in virtual time."""

    scripted = ScriptedTeacher
    run = staticmethod(run_virtually)

    def __init__(self, path: Path) -> None:
        self.path = path

    def store(self) -> AnswerStore:
        return AnswerStore(self.path, executor=InlineExecutor())

    def desk(self, teacher: ScriptedTeacher, store: AnswerStore, **options: Any) -> TeacherDesk:
        return TeacherDesk(teacher, DeskOptions(**{"provider": "Scripted", **options}), store, LoopClock())

    def use(self, teacher: ScriptedTeacher, main: Callable[[TeacherDesk], Awaitable[Result]], **options: Any) -> Result:
        """Runs `main` with a desk on a fresh connection to the store, as after a restart."""

        async def run() -> Result:
            desk = self.desk(teacher, self.store(), **options)
            try:
                return await main(desk)
            finally:
                await desk.close()

        return run_virtually(run)


@pytest.fixture
def desks(store_path: Path) -> Desks:
    return Desks(store_path)


class Virtual:
    """Virtual time without a desk."""

    clock = LoopClock()
    executor = InlineExecutor
    run = staticmethod(run_virtually)

    @staticmethod
    def answer(messages: Sequence[Message], max_output_tokens: int) -> TeacherAnswer:
        """As expensive as the desk's estimate allows."""
        size = sum(len(message.content.encode()) + 16 for message in messages)
        return TeacherAnswer("x", "m", size, max_output_tokens)


@pytest.fixture(scope="session")
def virtual() -> Virtual:
    return Virtual()
