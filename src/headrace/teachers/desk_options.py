"""How a desk asks its teacher."""

from dataclasses import dataclass

from headrace.teachers.answer_cache import Keep
from headrace.teachers.teacher import TeacherOptions

_CALLS_IN_ONE = 4
"""Requests that one call may take, at most, while a client learns which parameters its model does not take."""
_MARGIN_SECONDS = 60.0
DEFAULT_KEEP = Keep()


@dataclass(frozen=True, slots=True)
class DeskOptions:
    """`spec.teacher` of a finetuner, with the prices of its MegaModel."""

    provider: str
    """Part of the cache key, beside the teacher's identity."""
    concurrency: int = 16
    requests_per_minute: float = 0.0
    """0: no limit but the provider's own."""
    budget_tokens: int = 0
    """Tokens, input and output together, that each owner may spend; 0: no limit."""
    budget_usd: float = 0.0
    usd_per_million_input_tokens: float = 0.0
    usd_per_million_output_tokens: float = 0.0
    attempts: int = 6
    """Calls for one ask until the caller learns of the failure."""
    billed_attempts: int = 2
    """The same for calls that may be billed although no whole answer came."""
    give_up_seconds: float = 30.0
    """The same as a time, from the first call on."""
    first_backoff_seconds: float = 0.25
    longest_backoff_seconds: float = 8.0
    reservation_seconds: float = 300.0
    """After so long without an answer a reservation counts as lost. Must exceed the longest call."""
    keep: Keep = DEFAULT_KEEP
    seed: int = 0
    """Of the jitter."""


def desk_options(
    teacher: TeacherOptions,
    *,
    concurrency: int = 16,
    requests_per_minute: float = 0.0,
    budget_tokens: int = 0,
    budget_usd: float = 0.0,
    give_up_seconds: float = 30.0,
    keep: Keep = DEFAULT_KEEP,
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
        give_up_seconds=give_up_seconds,
        reservation_seconds=_CALLS_IN_ONE * teacher.timeout_seconds + _MARGIN_SECONDS,
        keep=keep,
    )
