"""Classifies a server's response to the records sent to it."""

from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from http import HTTPStatus

from headrace.foundation.clock import Clock

LONGEST_ASKED_SECONDS = 900.0
"""Upper bound for the pause a server may request."""


class Verdict(Enum):
    """Who is at fault."""

    TAKEN = auto()
    RECORD = auto()
    """The record is at fault: resending it would fail again."""
    LOGIN = auto()
    """We lack permission to send."""
    REQUEST = auto()
    """We use the wrong URL or method."""
    OUTAGE = auto()
    """The failure may be temporary."""


_RECORD = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNPROCESSABLE_ENTITY})
_LOGIN = frozenset(
    {
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.PAYMENT_REQUIRED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.PROXY_AUTHENTICATION_REQUIRED,
    }
)
_OUTAGE = frozenset(
    {
        HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.LOCKED, HTTPStatus.TOO_EARLY,
        HTTPStatus.TOO_MANY_REQUESTS,
    }
)  # fmt: skip


def verdict(status: int) -> Verdict:
    """For an HTTP status. Anything that is not a record's fault, including a redirect, is ours."""
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return Verdict.TAKEN
    if status in _RECORD:
        return Verdict.RECORD
    if status in _LOGIN:
        return Verdict.LOGIN
    if status in _OUTAGE or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Verdict.OUTAGE
    return Verdict.REQUEST


def asked_pause(header: str | None, clock: Clock) -> float | None:
    """The seconds requested by `Retry-After`, in either form (RFC 9110 §10.2.3), at most LONGEST_ASKED_SECONDS. None: no request."""
    text = "" if header is None else header.strip()
    if text.isascii() and text.isdigit():
        return min(float(text), LONGEST_ASKED_SECONDS)
    try:
        at = parsedate_to_datetime(text)
        left = at.replace(tzinfo=at.tzinfo or UTC).timestamp() - clock.now_ms() / 1000
    except (ValueError, OverflowError):
        return None
    return min(max(0.0, left), LONGEST_ASKED_SECONDS)
