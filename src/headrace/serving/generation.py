"""An engine's requests and results, token by token."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One answer to generate."""

    id: str
    prompt_ids: tuple[int, ...]
    max_tokens: int = 256
    temperature: float = 0.0
    """0: greedy"""
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    stop_ids: tuple[int, ...] = ()
    """The end token and similar ones."""
    top_logprobs: int | None = None
    """None: no logprobs; 0: only those of the chosen tokens"""
    logit_bias: Mapping[int, float] = field(default_factory=dict[int, float])


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token with its log-probability (nats) and its best alternatives."""

    id: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class GenerationStep:
    """The next piece of one request."""

    request_id: str
    text: str
    """New text; held back while it may be the start of a stop sequence or of a character."""
    tokens: int
    """Tokens generated so far."""
    logprobs: tuple[TokenLogprob, ...] = ()
    finish_reason: Literal["stop", "length", "cancelled", "error"] | None = None
    error: str = ""
