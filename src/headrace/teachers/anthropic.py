"""Anthropic's Messages API through the official SDK.

The current SDK has no temperature setting: the model chooses, and answers may differ between calls.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import anthropic
import msgspec
from anthropic.types import AssistantMessageParam, MessageParam, UserMessageParam

from headrace.events.message import Message
from headrace.teachers import rate_limits
from headrace.teachers.failures import FailedReply, Failures
from headrace.teachers.teacher import RefusedError, TeacherAnswer, TeacherOptions, UnusableAnswerError, Usage
from headrace.teachers.templates import AnthropicTemplate, canonical_endpoint, read_template
from headrace.teachers.transport import call_timeout, lost

_CUT_OFF = {"max_tokens", "model_context_window_exceeded"}


class _Block(msgspec.Struct):
    type: str
    text: str = ""


class _UsageCounts(msgspec.Struct):
    input_tokens: int = 0
    output_tokens: int = 0
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None


class _Reply(msgspec.Struct):
    content: list[_Block]
    usage: _UsageCounts
    model: str = ""
    stop_reason: str | None = None


_DECODER = msgspec.json.Decoder(_Reply)


def open_teacher(options: TeacherOptions) -> "AnthropicTeacher":
    """A teacher for `modelProvider: Anthropic`. InvalidDeclarationError if the template is wrong."""
    template = read_template(options, AnthropicTemplate)
    key = template.apikey.get_secret_value()
    client = anthropic.AsyncAnthropic(
        api_key=key, base_url=template.endpoint, max_retries=0, timeout=call_timeout(options.timeout_seconds)
    )
    identity = {"endpoint": canonical_endpoint(template.endpoint), "model": template.model}
    return AnthropicTeacher(client, identity, key, options)


class AnthropicTeacher:
    """A client of the Messages API."""

    def __init__(
        self, client: anthropic.AsyncAnthropic, identity: Mapping[str, str], key: str, options: TeacherOptions
    ) -> None:
        self._client = client
        self._identity = identity
        self._model = identity["model"]
        self._where = f"MegaModel/{options.name}"
        self._failures = Failures(self._where, key)
        self._timeout_seconds = options.timeout_seconds

    @property
    def identity(self) -> Mapping[str, str]:
        return self._identity

    async def answer(self, messages: Sequence[Message], *, max_output_tokens: int) -> TeacherAnswer:
        system = "\n\n".join(message.content for message in messages if message.role == "system")
        turns = [_turn(message) for message in messages if message.role != "system"]
        try:
            async with asyncio.timeout(self._timeout_seconds):
                response = await self._client.messages.with_raw_response.create(
                    model=self._model,
                    max_tokens=max_output_tokens,
                    messages=turns,
                    system=system or anthropic.omit,
                    timeout=call_timeout(self._timeout_seconds),
                )
        except TimeoutError:
            raise self._failures.timed_out(self._timeout_seconds) from None
        except anthropic.APIConnectionError as error:
            failure = lost(error, self._failures, self._timeout_seconds)
            raise failure from self._failures.safe_cause(error)
        except anthropic.APIStatusError as error:
            reply = FailedReply(
                error.status_code, error.api_message or error.message, error.type or "", error.response.headers
            )
            raise self._failures.of_reply(reply) from self._failures.safe_cause(error)
        return self._read(response.http_response.content, response.headers)

    def _read(self, body: bytes, headers: Mapping[str, Any]) -> TeacherAnswer:
        try:
            reply = _DECODER.decode(body)
        except msgspec.DecodeError as error:
            raise self._failures.malformed(str(error)) from None
        counts = reply.usage
        cached_tokens = (counts.cache_creation_input_tokens or 0) + (counts.cache_read_input_tokens or 0)
        usage = Usage(counts.input_tokens + cached_tokens, counts.output_tokens)
        if reply.stop_reason == "refusal":
            raise RefusedError("the teacher refused to answer", where=self._where, billed=usage)
        if reply.stop_reason in _CUT_OFF:
            raise UnusableAnswerError(f"the answer was cut off ({reply.stop_reason})", where=self._where, billed=usage)
        text = "".join(block.text for block in reply.content if block.type == "text")
        if not text.strip():
            raise UnusableAnswerError("the answer is empty", where=self._where, billed=usage)
        limits = rate_limits.read_limits(headers, rate_limits.ANTHROPIC)
        return TeacherAnswer(text, reply.model or self._model, usage.input_tokens, usage.output_tokens, limits)

    async def close(self) -> None:
        await self._client.close()


def _turn(message: Message) -> MessageParam:
    if message.role == "user":
        return UserMessageParam(role="user", content=message.content)
    return AssistantMessageParam(role="assistant", content=message.content)
