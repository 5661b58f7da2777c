"""Waits and limits as providers write them."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.teachers.rate_limits import ANTHROPIC, OPENAI, parse_wait_seconds, read_limits, retry_after_seconds
from headrace.teachers.teacher import RateLimits

NOW_MS = 1_700_000_000_000


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("12", 12.0),
        ("0", 0.0),
        ("1.5", 1.5),
        ("1s", 1.0),
        ("6m0s", 360.0),
        ("20ms", 0.02),
        ("1m30.25s", 90.25),
        ("1h0m0s", 3600.0),
        ("1d", 86400.0),
        ("1700000007", 7.0),
        ("1699999999", 0.0),
        ("Tue, 14 Nov 2023 22:13:27 GMT", 7.0),
        ("Tue, 14 Nov 2023 22:13:00 GMT", 0.0),
        ("2023-11-14T22:13:27Z", 7.0),
        ("2023-11-14T23:13:27+01:00", 7.0),
        (" 3s ", 3.0),
        ("", None),
        (None, None),
        ("soon", None),
        ("5 parsecs", None),
        ("1s later", None),
        ("-3", None),
    ],
)
def test_every_published_form_of_a_wait_is_read(text: str | None, seconds: float | None):
    assert parse_wait_seconds(text, NOW_MS) == (None if seconds is None else pytest.approx(seconds))


@given(st.text(max_size=40))
def test_no_header_breaks_the_reading(text: str):
    wait = parse_wait_seconds(text, NOW_MS)
    assert wait is None or wait >= 0


@given(st.integers(0, 86_400))
def test_a_date_is_as_good_as_seconds(seconds: int):
    at = datetime.fromtimestamp(NOW_MS / 1000, UTC) + timedelta(seconds=seconds)
    assert parse_wait_seconds(format_datetime(at, usegmt=True), NOW_MS) == seconds


def test_dates_are_compared_with_the_servers_own_clock():
    headers = {"retry-after": "Wed, 01 Jan 2020 00:01:00 GMT", "date": "Wed, 01 Jan 2020 00:00:00 GMT"}
    assert retry_after_seconds(headers) == 60.0


def test_milliseconds_go_before_seconds():
    assert retry_after_seconds({"retry-after-ms": "1500", "retry-after": "9"}) == 1.5
    assert retry_after_seconds({"retry-after-ms": "?", "retry-after": "9"}) == 9.0
    assert retry_after_seconds({}) is None


def test_openais_limits_are_read():
    headers = {
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-remaining-tokens": "149984",
        "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-reset-tokens": "6m0s",
    }
    assert read_limits(headers, OPENAI) == RateLimits(59, 1.0, 149984, 360.0)


def test_anthropics_limits_are_read():
    headers = {
        "anthropic-ratelimit-requests-remaining": "0",
        "anthropic-ratelimit-requests-reset": "2020-01-01T00:00:30Z",
        "date": "Wed, 01 Jan 2020 00:00:00 GMT",
    }
    assert read_limits(headers, ANTHROPIC) == RateLimits(0, 30.0, None, None)


def test_absent_or_wrong_limits_are_unknown():
    assert read_limits({}, OPENAI) == RateLimits()
    wrong = {"x-ratelimit-remaining-requests": "many", "x-ratelimit-reset-requests": "later"}
    assert read_limits(wrong, OPENAI) == RateLimits()
