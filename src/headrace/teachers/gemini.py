"""Google's Gemini API through the official SDK. It sends no rate-limit headers; a 429 says in its body when to retry."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, cast

import httpx2
import msgspec
from google import genai
from google.genai import errors, types

from headrace.events.message import Message
from headrace.teachers.failures import FailedReply, Failures
from headrace.teachers.rate_limits import parse_wait_seconds
from headrace.teachers.teacher import RefusedError, TeacherAnswer, TeacherOptions, UnusableAnswerError, Usage
from headrace.teachers.templates import GeminiTemplate, canonical_endpoint, read_template
from headrace.teachers.transport import lost

_TEMPERATURE = 0.0
_REFUSALS = {"SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII"}
_ROLES = {"user": "user", "assistant": "model"}


class _Part(msgspec.Struct):
    text: str = ""
    thought: bool = False


class _Content(msgspec.Struct):
    parts: list[_Part] = []


class _Candidate(msgspec.Struct, rename="camel"):
    content: _Content | None = None
    finish_reason: str | None = None


class _PromptFeedback(msgspec.Struct, rename="camel"):
    block_reason: str | None = None


class _UsageCounts(msgspec.Struct, rename="camel"):
    prompt_token_count: int = 0
    candidates_token_count: int = 0
    thoughts_token_count: int = 0


class _Reply(msgspec.Struct, rename="camel"):
    candidates: list[_Candidate] = []
    prompt_feedback: _PromptFeedback | None = None
    usage_metadata: _UsageCounts | None = None
    model_version: str = ""


_DECODER = msgspec.json.Decoder(_Reply)


def open_teacher(options: TeacherOptions) -> "GeminiTeacher":
    """A teacher for `modelProvider: Gemini`. InvalidDeclarationError if the template is wrong."""
    return GeminiTeacher(read_template(options, GeminiTemplate), options)


class GeminiTeacher:
    """A client of `models.generateContent`."""

    def __init__(self, template: GeminiTemplate, options: TeacherOptions) -> None:
        key = template.apikey.get_secret_value()
        self._model = template.model
        self._identity = {
            "endpoint": canonical_endpoint(template.endpoint),
            "model": template.model,
            "temperature": str(_TEMPERATURE),
        }
        self._where = f"MegaModel/{options.name}"
        self._failures = Failures(self._where, key)
        self._timeout_seconds = options.timeout_seconds
        # Its own transport, so that behaviour does not depend on what else is installed.
        self._transport = httpx2.AsyncClient(timeout=options.timeout_seconds, follow_redirects=True)
        self._client = genai.Client(
            vertexai=False,
            api_key=key,
            http_options=types.HttpOptions(
                base_url=template.endpoint,
                timeout=max(1, round(options.timeout_seconds * 1000)),
                retry_options=types.HttpRetryOptions(attempts=1),
                httpx_async_client=self._transport,
            ),
        )

    @property
    def identity(self) -> Mapping[str, str]:
        return self._identity

    async def answer(self, messages: Sequence[Message], *, max_output_tokens: int) -> TeacherAnswer:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                response = await self._client.aio.models.generate_content(
                    model=self._model,
                    contents=cast("types.ContentListUnionDict", _turns(messages)),
                    config=_config(messages, max_output_tokens),
                )
        except TimeoutError:
            raise self._failures.timed_out(self._timeout_seconds) from None
        except httpx2.HTTPError as error:
            failure = lost(error, self._failures, self._timeout_seconds)
            raise failure from self._failures.safe_cause(error)
        except errors.APIError as error:
            raise self._failures.of_reply(_failed_reply(error)) from self._failures.safe_cause(error)
        raw = response.sdk_http_response
        return self._read((raw.body if raw else None) or "")

    def _read(self, body: str) -> TeacherAnswer:
        try:
            reply = _DECODER.decode(body)
        except msgspec.DecodeError as error:
            raise self._failures.malformed(str(error)) from None
        counts = reply.usage_metadata
        usage = counts and Usage(counts.prompt_token_count, counts.candidates_token_count + counts.thoughts_token_count)
        if reply.prompt_feedback and reply.prompt_feedback.block_reason:
            self._refuse(reply.prompt_feedback.block_reason, usage)
        if not reply.candidates:
            raise self._failures.malformed("no candidates")
        candidate = reply.candidates[0]
        if candidate.finish_reason in _REFUSALS:
            self._refuse(candidate.finish_reason, usage)
        if candidate.finish_reason not in {"STOP", None}:
            raise UnusableAnswerError(
                f"the answer was cut off ({candidate.finish_reason})", where=self._where, billed=usage
            )
        parts = candidate.content.parts if candidate.content else []
        text = "".join(part.text for part in parts if not part.thought)
        if not text.strip():
            raise UnusableAnswerError("the answer is empty", where=self._where, billed=usage)
        spent = usage or Usage(0, 0)
        return TeacherAnswer(text, reply.model_version or self._model, spent.input_tokens, spent.output_tokens)

    def _refuse(self, reason: str, usage: Usage | None) -> NoReturn:
        raise RefusedError(f"the teacher refused to answer: {reason}", where=self._where, billed=usage)

    async def close(self) -> None:
        await self._client.aio.aclose()
        self._client.close()
        await self._transport.aclose()


def _turns(messages: Sequence[Message]) -> list[dict[str, object]]:
    return [
        {"role": _ROLES[message.role], "parts": [{"text": message.content}]}
        for message in messages
        if message.role != "system"
    ]


def _config(messages: Sequence[Message], max_output_tokens: int) -> types.GenerateContentConfig:
    system = "\n\n".join(message.content for message in messages if message.role == "system")
    return types.GenerateContentConfig(
        system_instruction=system or None,
        temperature=_TEMPERATURE,
        max_output_tokens=max_output_tokens,
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
        should_return_http_response=True,
    )


def _failed_reply(error: errors.APIError) -> FailedReply:
    headers: Any = getattr(error.response, "headers", None)
    return FailedReply(
        error.code or 500,
        error.message or "no reason given",
        error.status or "",
        headers,
        _retry_delay_seconds(error.details),
    )


def _retry_delay_seconds(body: object) -> float | None:
    """`retryDelay` of google.rpc.RetryInfo among the error's details."""
    error: Any = body.get("error") if isinstance(body, Mapping) else None
    details: Any = error.get("details") if isinstance(error, Mapping) else None
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, Mapping) and "retryDelay" in detail:
            return parse_wait_seconds(str(detail["retryDelay"]), 0)
    return None
