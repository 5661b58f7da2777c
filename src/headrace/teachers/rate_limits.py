"""Parses providers' response headers about limits and waiting."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from headrace.foundation.clock import SYSTEM_CLOCK
from headrace.teachers.teacher import RateLimits

_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhd])")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_EPOCH_FROM = 1_000_000_000
"""A bare number from here on is a time in seconds since 1970, not a wait."""


@dataclass(frozen=True, slots=True)
class HeaderNames:
    """Where a provider reports its limits, in lower case."""

    requests_remaining: str
    requests_reset: str
    tokens_remaining: str
    tokens_reset: str


OPENAI = HeaderNames(
    "x-ratelimit-remaining-requests",
    "x-ratelimit-reset-requests",
    "x-ratelimit-remaining-tokens",
    "x-ratelimit-reset-tokens",
)
ANTHROPIC = HeaderNames(
    "anthropic-ratelimit-requests-remaining",
    "anthropic-ratelimit-requests-reset",
    "anthropic-ratelimit-tokens-remaining",
    "anthropic-ratelimit-tokens-reset",
)


def read_limits(headers: Mapping[str, str], names: HeaderNames) -> RateLimits:
    """The remaining quota in `headers` (looked up in lower case); absent or unparsable values are None."""
    remaining = headers.get(names.requests_remaining), headers.get(names.tokens_remaining)
    if remaining == (None, None):
        return RateLimits()
    now_ms = _now_ms(headers)
    return RateLimits(
        _count(remaining[0]),
        parse_wait_seconds(headers.get(names.requests_reset), now_ms),
        _count(remaining[1]),
        parse_wait_seconds(headers.get(names.tokens_reset), now_ms),
    )


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """The wait that the server requests: `retry-after-ms`, otherwise `retry-after` as seconds or as a date."""
    milliseconds = headers.get("retry-after-ms", "").strip()
    if _NUMBER.fullmatch(milliseconds):
        return float(milliseconds) / 1000
    return parse_wait_seconds(headers.get("retry-after"), _now_ms(headers))


def parse_wait_seconds(text: str | None, now_ms: int) -> float | None:
    """Seconds from now: '12', '1s', '6m0s', '20ms', an HTTP date, an ISO-8601 instant or seconds since 1970; never below 0."""
    text = (text or "").strip()
    if _NUMBER.fullmatch(text):
        number = float(text)
        return number if number < _EPOCH_FROM else max(0.0, number - now_ms / 1000)
    parts = _DURATION.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        return sum(float(number) * _UNIT_SECONDS[unit] for number, unit in parts)
    at_ms = _instant_ms(text)
    return None if at_ms is None else max(0.0, (at_ms - now_ms) / 1000)


def _instant_ms(text: str) -> float | None:
    for parse in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            at = parse(text)
        except ValueError:
            continue
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000
    return None


def _now_ms(headers: Mapping[str, str]) -> int:
    """The server's own clock if it reports one, so that a skewed local clock does no harm."""
    at_ms = _instant_ms(headers.get("date", ""))
    return SYSTEM_CLOCK.now_ms() if at_ms is None else int(at_ms)


def _count(text: str | None) -> int | None:
    return int(text) if text is not None and text.strip().isdecimal() else None
