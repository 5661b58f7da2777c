"""OpenAI's chat completions protocol: builds requests and parses responses. Loads no SDK."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from headrace.events.message import Message
from headrace.teachers import rate_limits
from headrace.teachers.failures import FailedReply, Failures
from headrace.teachers.teacher import RefusedError, TeacherAnswer, UnusableAnswerError, Usage

TEMPERATURE = 0
SAMPLING: Mapping[str, str] = {"temperature": str(TEMPERATURE)}
"""Request parameters, as part of a teacher's identity."""


class _ReplyMessage(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None


class _Choice(msgspec.Struct):
    message: _ReplyMessage
    finish_reason: str | None = None


class _UsageCounts(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Completion(msgspec.Struct):
    choices: list[_Choice]
    model: str = ""
    usage: _UsageCounts | None = None


_DECODER = msgspec.json.Decoder(_Completion)


class ChatRequest:
    """Builds request bodies; learns which parameters this model does not accept.

    Models differ in how they name the limit (`max_tokens`, `max_completion_tokens`) and some reject `temperature`:
    the endpoint reports `unsupported_parameter` or `unsupported_value`, and the next body omits it.
    """

    def __init__(self, model: str, *, limit_name: str = "max_tokens") -> None:
        self._model = model
        self._limit_name = limit_name
        self._temperature = True

    def body(self, messages: Sequence[Message], max_output_tokens: int) -> dict[str, object]:
        """The JSON body."""
        body: dict[str, object] = {
            "model": self._model,
            "messages": [{"role": message.role, "content": message.content} for message in messages],
            self._limit_name: max_output_tokens,
        }
        if self._temperature:
            body["temperature"] = TEMPERATURE
        return body

    def adapts_to(self, error: Mapping[str, Any], sent: Mapping[str, object]) -> bool:
        """Whether the next body omits what a 400's `error` object complains about."""
        if error.get("code") not in {"unsupported_parameter", "unsupported_value"}:
            return False
        param = error.get("param")
        if param == "temperature" and "temperature" in sent:
            self._temperature = False
            return True
        if param == "max_tokens" and "max_tokens" in sent:
            self._limit_name = "max_completion_tokens"
            return True
        return False


def read_answer(
    body: bytes, headers: Mapping[str, str], *, model: str, failures: Failures, where: str
) -> TeacherAnswer:
    """The answer in a 200 response; RefusedError, UnusableAnswerError or (malformed) TeacherUnavailableError."""
    try:
        completion = _DECODER.decode(body)
    except msgspec.DecodeError as error:
        raise failures.malformed(failures.scrubbed(str(error))) from None
    if not completion.choices:
        raise failures.malformed("no choices")
    choice, counts = completion.choices[0], completion.usage or _UsageCounts()
    usage = Usage(counts.prompt_tokens, counts.completion_tokens) if completion.usage else None
    if choice.message.refusal or choice.finish_reason == "content_filter":
        why = choice.message.refusal or "content filter"
        raise RefusedError(f"the teacher refused to answer: {failures.scrubbed(why)}", where=where, billed=usage)
    if choice.finish_reason == "length":
        raise UnusableAnswerError("the answer was cut off at the token limit", where=where, billed=usage)
    text = choice.message.content or ""
    if not text.strip():
        raise UnusableAnswerError("the answer is empty", where=where, billed=usage)
    limits = rate_limits.read_limits(headers, rate_limits.OPENAI)
    return TeacherAnswer(text, completion.model or model, counts.prompt_tokens, counts.completion_tokens, limits)


def failed_reply(status: int, body: object, headers: Mapping[str, str]) -> FailedReply:
    """The parts of an error response: OpenAI's `error` object if there is one, otherwise the text."""
    error = error_object(body)
    inner: Any = error.get("innererror")
    codes = [str(part.get("code") or "") for part in (inner, error) if isinstance(part, Mapping)]
    known = [code for code in codes if code]
    message = str(error.get("message") or (body if isinstance(body, str) else "") or "no reason given")
    return FailedReply(status, message, known[-1] if known else "", headers)


def error_object(body: object) -> Mapping[str, Any]:
    """The `error` object in an error body; some clients pass the object itself."""
    if not isinstance(body, Mapping):
        return {}
    error: Any = body.get("error", body)
    return error if isinstance(error, Mapping) else {"message": str(error)}
