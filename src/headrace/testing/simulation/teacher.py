"""A teacher that lies by the prompt and is slow by chance: what comes of a prompt depends on its words alone, when it comes on the seed.

So every run of the same inputs has the same answers, refusals and dead letters, whatever the teacher's mood was on the way.
"""

import asyncio
import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from headrace.events.message import Message
from headrace.teachers.desk import PROBE
from headrace.teachers.teacher import (
    RefusedError,
    TeacherAnswer,
    TeacherRejectedError,
    TeacherUnavailableError,
    UnusableAnswerError,
    Usage,
)
from headrace.testing.virtual_loop import START_MS, START_SECONDS, VirtualLoop

Character = Literal["honest", "liar", "refusal", "unusable", "silent", "garbled", "rejected"]
"""What a prompt brings out: an answer, a wrong one, none for this prompt; or a failure each time: 5xx, a body that is no answer, 4xx."""
CHARACTERS: tuple[tuple[int, Character], ...] = (
    (5, "refusal"), (9, "unusable"), (10, "silent"), (12, "garbled"), (13, "rejected"), (18, "liar"),
)  # fmt: skip
"""Of a hundred prompts, up to which one."""
Mood = Literal["down", "cut", "limited"]
"""What every call meets for a while: 5xx, billed answers that do not arrive, a rate limit."""
SAID = "no answer came"
"""In every failure: a dead letter tells what the last one said, and that may be an outage's."""
ANSWERS = ("card", "rate", "fee")
DELAYS = (0.05, 0.05, 0.5, 2.0, 20.0)
"""Seconds; the later of two calls is often answered first."""


class TeacherClock:
    """One teacher's time. It moves while the loop of a desk is stepped, and with nothing else."""

    def __init__(self) -> None:
        self._loop: VirtualLoop | None = None

    def new_loop(self) -> VirtualLoop:
        """A loop that begins now; from here on, now is where it has come to."""
        self._loop = VirtualLoop(self.monotonic())
        return self._loop

    def monotonic(self) -> float:
        return self._loop.time() if self._loop else START_SECONDS

    def now_ms(self) -> int:
        return START_MS + round((self.monotonic() - START_SECONDS) * 1000)

    def sleep(self, seconds: float) -> None:
        raise AssertionError(f"a blocking sleep of {seconds} s beside the event loop")


@dataclass(slots=True)
class Service:
    """A teacher as its provider sees it, over all lives of the processes that ask it."""

    draw: random.Random | None = None
    """Of its delays; None: every call takes as long."""
    clock: TeacherClock = field(default_factory=TeacherClock)
    billed_calls: int = 0
    billed_tokens: int = 0
    mood: Mood | None = None
    mood_ends: float = 0.0
    outages: int = 0

    def fall_into(self, mood: Mood, seconds: float) -> None:
        self.mood, self.mood_ends = mood, self.clock.monotonic() + seconds
        self.outages += mood != "limited"

    @property
    def mood_now(self) -> Mood | None:
        return self.mood if self.clock.monotonic() < self.mood_ends else None

    def bill(self, usage: Usage) -> None:
        """As the request arrives, whether anybody receives the answer or not."""
        self.billed_calls += 1
        self.billed_tokens += usage.input_tokens + usage.output_tokens

    def seconds(self) -> float:
        return self.draw.choice(DELAYS) if self.draw else 0.5


class SimulatedTeacher:
    """The port's `Teacher`."""

    def __init__(self, service: Service, *, at_once: bool = False) -> None:
        """`at_once`: always well, and answers without a delay."""
        self._service, self._at_once = service, at_once
        self.identity = {"endpoint": "simulated", "model": "simulated"}

    async def answer(self, messages: Sequence[Message], *, max_output_tokens: int) -> TeacherAnswer:
        text = "\n".join(message.content for message in messages)
        number, character = _number(text), character_of(text)
        usage = Usage(len(text), min(max_output_tokens, 1 + number % 5))
        mood = None if self._at_once else self._service.mood_now
        if mood == "cut" or (mood is None and character not in {"silent", "rejected"}):
            self._service.bill(usage)
        if not self._at_once:
            await asyncio.sleep(self._service.seconds())
        if mood is not None:
            raise self._outage(mood)
        return _outcome(character, text, usage)

    async def close(self) -> None:
        return None

    def _outage(self, mood: Mood) -> TeacherUnavailableError:
        if mood == "limited":
            left = max(0.1, self._service.mood_ends - self._service.clock.monotonic())
            return TeacherUnavailableError(SAID, retry_after_seconds=left, rate_limited=True)
        return TeacherUnavailableError(SAID, maybe_billed=mood == "cut")


def character_of(text: str) -> Character:
    """Always the same for the same text."""
    if text == PROBE[0].content:
        return "honest"
    place = _number(text) // 8 % 100
    for below, character in CHARACTERS:
        if place < below:
            return character
    return "honest"


def _outcome(character: Character, text: str, usage: Usage) -> TeacherAnswer:
    match character:
        case "refusal":
            raise RefusedError("this prompt is not answered", billed=usage)
        case "unusable":
            raise UnusableAnswerError("the answer is empty", billed=usage)
        case "silent":
            raise TeacherUnavailableError(SAID)
        case "garbled":
            raise TeacherUnavailableError(SAID, maybe_billed=True)
        case "rejected":
            raise TeacherRejectedError(SAID)
        case "liar":
            answer = "please \x00 cash\nagain"
        case "honest":
            answer = ANSWERS[_number(text) % len(ANSWERS)]
    return TeacherAnswer(answer, "simulated", usage.input_tokens, usage.output_tokens)


def _number(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big")
