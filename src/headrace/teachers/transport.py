"""What a broken connection means for billing. All official SDKs send through httpx2."""

from collections.abc import Iterator

import httpx2

from headrace.teachers.failures import Failures
from headrace.teachers.teacher import TeacherUnavailableError

_NOT_SENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.ProxyError,
    httpx2.UnsupportedProtocol,
)


_CONNECT_SECONDS = 10.0


def call_timeout(seconds: float) -> httpx2.Timeout:
    """The SDK's timeout: distinguishes an unreachable server from one that takes long to answer."""
    return httpx2.Timeout(seconds, connect=min(seconds / 2, _CONNECT_SECONDS))


def lost(error: BaseException, failures: Failures, timeout_seconds: float) -> TeacherUnavailableError:
    """The error for a call without a complete response, from the driver's error or the SDK's wrapper."""
    driver = next((cause for cause in _causes(error) if isinstance(cause, httpx2.HTTPError)), error)
    why = str(driver) or type(driver).__name__
    if isinstance(driver, _NOT_SENT):
        return failures.no_connection(why)
    if isinstance(driver, httpx2.TimeoutException):
        return failures.timed_out(timeout_seconds)
    return failures.broken(why)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
