"""How a desk asks its teacher."""

from dataclasses import dataclass

from headrace.teachers.answer_cache import Keep
from headrace.teachers.teacher import TeacherOptions

_CALLS_IN_ONE = 4
"""Maximum requests per call while a client learns which parameters its model does not accept."""
_MARGIN_SECONDS = 60.0
DEFAULT_KEEP = Keep()


@dataclass(frozen=True, slots=True)
class DeskOptions:
    """`spec.teacher` of a finetuner, with the prices of its MegaModel."""

    provider: str
    """Part of the cache key, beside the teacher's identity."""
    concurrency: int = 16
    requests_per_minute: float = 0.0
    """0: only the provider's own limit."""
    budget_tokens: int = 0
    """Tokens, input plus output, that each owner may spend; 0: unlimited."""
    budget_usd: float = 0.0
    usd_per_million_input_tokens: float = 0.0
    usd_per_million_output_tokens: float = 0.0
    attempts: int = 6
    """Calls for one ask before the caller sees the failure."""
    billed_attempts: int = 2
    """The same for calls that may be billed although no complete answer arrived."""
    give_up_seconds: float = 30.0
    """The same as a time limit, from the first call on."""
    first_backoff_seconds: float = 0.25
    longest_backoff_seconds: float = 8.0
    reservation_seconds: float = 300.0
    """When a reservation without an answer counts as lost. Must exceed the longest call."""
    keep: Keep = DEFAULT_KEEP
    seed: int = 0
    """Seed of the jitter."""


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
    """A desk's options for this MegaModel."""
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
