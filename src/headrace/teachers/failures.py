"""Turns provider failures into the port's errors, without ever repeating a key.

| what happened | error |
| --- | --- |
| 408, 409, 425, 429, 5xx (529 too), no connection, timeout, broken connection, a body that does not follow the protocol | TeacherUnavailableError |
| the prompt is longer than the model accepts, content filter | RefusedError |
| any other 4xx or 3xx: key, model, address, request | TeacherRejectedError |

A malformed body counts as an outage, not as an answer: it comes from a broken proxy or a restarting server, which
may recover; the row waits and is asked again.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from headrace.foundation.errors import HeadraceError
from headrace.teachers.rate_limits import retry_after_seconds
from headrace.teachers.teacher import RefusedError, TeacherRejectedError, TeacherUnavailableError

_MAX_MESSAGE = 300
_RETRYABLE = {408, 409, 425, 429}
_FILTERED_CODES = {"content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation"}
_TOO_LONG_CODES = {"context_length_exceeded", "string_above_max_length", "request_too_large"}
_TOO_LONG_PHRASES = ("prompt is too long", "maximum context length", "exceeds the maximum number of tokens")
_NEXT_STEPS = {
    401: "check apikey",
    403: "check that the key may use this model",
    404: "check model (or deployment) and endpoint",
}


@dataclass(frozen=True, slots=True)
class FailedReply:
    """A response with an error status."""

    status: int
    message: str
    code: str = ""
    """The provider's machine-readable reason."""
    headers: Mapping[str, str] | None = None
    """Names in lower case."""
    retry_after_seconds: float | None = None
    """Where the body specifies it instead of a header."""


class Failures:
    """Creates the errors of one MegaModel; `key` is removed from every text."""

    def __init__(self, where: str, key: str) -> None:
        self._where = where
        self._key = key

    def of_reply(self, reply: FailedReply) -> HeadraceError:
        """The error of a response with an error status."""
        said = f"the teacher answered {reply.status}: {self.scrubbed(reply.message)}"
        if reply.code in _FILTERED_CODES:
            return RefusedError(said, where=self._where)
        if reply.status in _RETRYABLE or reply.status >= 500:
            wait = reply.retry_after_seconds
            if wait is None:
                wait = retry_after_seconds(reply.headers or {})
            return TeacherUnavailableError(
                said, where=self._where, retry_after_seconds=wait, rate_limited=reply.status == 429
            )
        if reply.status == 413 or reply.code in _TOO_LONG_CODES or _says_too_long(reply.message):
            return RefusedError(
                said, where=self._where, next_step="shorten the prompt, or check the provider's content filter"
            )
        return TeacherRejectedError(
            said, where=self._where, next_step=_NEXT_STEPS.get(reply.status, "check the MegaModel's modelTemplate")
        )

    def no_connection(self, why: str) -> TeacherUnavailableError:
        """Nothing was sent."""
        return TeacherUnavailableError(f"cannot connect to the teacher: {self.scrubbed(why)}", where=self._where)

    def broken(self, why: str) -> TeacherUnavailableError:
        """The request was sent but no complete answer arrived."""
        return TeacherUnavailableError(
            f"the teacher's answer did not arrive: {self.scrubbed(why)}", where=self._where, maybe_billed=True
        )

    def timed_out(self, seconds: float) -> TeacherUnavailableError:
        """No complete answer within a call's time limit."""
        return self.broken(f"no answer within {seconds:g} s")

    def malformed(self, why: str) -> TeacherUnavailableError:
        """A body that does not follow the protocol."""
        return self.broken(f"the response does not follow the provider's protocol ({why})")

    def scrubbed(self, text: str) -> str:
        """The text without the key, truncated to 300 characters."""
        text = " ".join(text.split())
        if self._key:
            text = text.replace(self._key, "[key]")
        return text if len(text) <= _MAX_MESSAGE else f"{text[:_MAX_MESSAGE]} …"

    def safe_cause(self, error: BaseException) -> BaseException | None:
        """The driver's error, as the cause to raise from; None if it, or its own cause, repeats the key."""
        seen: BaseException | None = error
        while seen is not None:
            if self._key and self._key in f"{seen} {seen!r}":
                return None
            seen = seen.__cause__ or seen.__context__
        return error


def _says_too_long(message: str) -> bool:
    lower = message.lower()
    return any(phrase in lower for phrase in _TOO_LONG_PHRASES)
