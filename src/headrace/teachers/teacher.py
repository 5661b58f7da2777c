"""The port to a teacher.

HeadraceError
├── AnsweredError (final)            the call succeeded but gave no answer
│   ├── RefusedError                 the teacher will not answer this prompt, ever: a dead letter
│   └── UnusableAnswerError          it answered, but the answer cannot be used (empty, cut off at the limit, not text)
├── UnansweredError (final)          only this prompt gets no answer: a dead letter, which a replay may recover
├── TeacherRejectedError (final)     the request itself is wrong (key, model name, address): the stage pauses with a condition
├── BudgetSpentError (retryable)     the owner's budget is spent: the stage pauses
└── TeacherUnavailableError (retryable)   429, 5xx, timeouts, broken connections: the row waits
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from headrace.events.message import Message
from headrace.foundation.errors import FinalError, RetryableError


@dataclass(frozen=True, slots=True)
class Usage:
    """What the provider bills for one call."""

    input_tokens: int
    output_tokens: int


class AnsweredError(FinalError):
    """The call succeeded but gave no answer; `billed` is its cost, None if the provider did not report it."""

    def __init__(
        self, message: str, *, where: str | None = None, next_step: str | None = None, billed: Usage | None = None
    ) -> None:
        super().__init__(message, where=where, next_step=next_step)
        self.billed = billed


class RefusedError(AnsweredError):
    """The teacher will not answer this prompt."""


class UnusableAnswerError(AnsweredError):
    """The teacher answered, but the answer cannot be used."""


class UnansweredError(FinalError):
    """The teacher answers other prompts but never this one."""


class TeacherRejectedError(FinalError):
    """The request itself is wrong: key, model name, address."""


class BudgetSpentError(RetryableError):
    """The owner's budget is spent."""


class TeacherUnavailableError(RetryableError):
    """The teacher is not answering now; `retry_after_seconds` if it gave one.

    `maybe_billed`: the request was sent but no complete answer arrived, so the provider may bill it anyway.
    `rate_limited`: too many calls at the moment, which is never one prompt's fault.
    """

    def __init__(
        self,
        message: str,
        *,
        where: str | None = None,
        next_step: str | None = None,
        retry_after_seconds: float | None = None,
        maybe_billed: bool = False,
        rate_limited: bool = False,
    ) -> None:
        super().__init__(message, where=where, next_step=next_step, retry_after_seconds=retry_after_seconds)
        self.maybe_billed = maybe_billed
        self.rate_limited = rate_limited


@dataclass(frozen=True, slots=True)
class TeacherOptions:
    """A MegaModel's settings for opening a provider; `template` is its block of `modelTemplate`, secrets resolved."""

    name: str
    provider: str
    template: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)
    timeout_seconds: float = 60.0
    usd_per_million_input_tokens: float = 0.0
    usd_per_million_output_tokens: float = 0.0


@dataclass(frozen=True, slots=True)
class RateLimits:
    """The remaining quota in the provider's response headers; None: not reported."""

    requests_remaining: int | None = None
    requests_reset_seconds: float | None = None
    tokens_remaining: int | None = None
    tokens_reset_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class TeacherAnswer:
    """An answer as received."""

    text: str
    model: str
    input_tokens: int
    output_tokens: int
    limits: RateLimits = RateLimits()


class Teacher(Protocol):
    """One provider's client, without retries and cache: the desk in front of it provides those (`teachers/desk.py`)."""

    @property
    def identity(self) -> Mapping[str, str]:
        """Everything that answers depend on besides the prompt, as part of the cache key: `endpoint`, `model`, API version, sampling.

        Two teachers with equal identities give the same answers. Contains no secrets.
        """
        ...

    async def answer(self, messages: Sequence[Message], *, max_output_tokens: int) -> TeacherAnswer:
        """Asks once. Raises the errors listed above, never a driver's error."""
        ...

    async def close(self) -> None: ...


OpenTeacher = Callable[[TeacherOptions], Teacher]
"""The signature of the entry point group `headrace.teachers`."""
