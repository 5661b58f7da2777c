"""OpenAI, and every endpoint that speaks its chat completions protocol, through the official SDK."""

import asyncio
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

import httpx2
import openai

from headrace.events.message import Message
from headrace.teachers import chat_completions
from headrace.teachers.failures import Failures
from headrace.teachers.teacher import TeacherAnswer, TeacherOptions
from headrace.teachers.templates import OpenAITemplate, canonical_endpoint, read_template
from headrace.teachers.transport import call_timeout, lost


def open_teacher(options: TeacherOptions) -> "ChatTeacher":
    """A teacher for `modelProvider: OpenAI`. InvalidDeclarationError if the template is wrong."""
    template = read_template(options, OpenAITemplate)
    key = template.apikey.get_secret_value()
    client = openai.AsyncOpenAI(
        api_key=key or "none",  # the SDK requires one even for servers that do not
        base_url=template.endpoint,
        max_retries=0,
        timeout=call_timeout(options.timeout_seconds),
    )
    # With its newer models OpenAI accepts only the newer name; compatible servers mostly know the older one.
    own = (urlsplit(template.endpoint).hostname or "").endswith("openai.com")
    request = chat_completions.ChatRequest(template.model, limit_name="max_completion_tokens" if own else "max_tokens")
    identity = {"endpoint": canonical_endpoint(template.endpoint), "model": template.model}
    return ChatTeacher(client, request, identity, key, options)


class ChatTeacher:
    """A client of the chat completions protocol; Azure's client is one too."""

    def __init__(
        self,
        client: openai.AsyncOpenAI,
        request: chat_completions.ChatRequest,
        identity: Mapping[str, str],
        key: str,
        options: TeacherOptions,
    ) -> None:
        self._client = client
        self._request = request
        self._identity = {**identity, **chat_completions.SAMPLING}
        self._where = f"MegaModel/{options.name}"
        self._failures = Failures(self._where, key)
        self._timeout_seconds = options.timeout_seconds

    @property
    def identity(self) -> Mapping[str, str]:
        return self._identity

    async def answer(self, messages: Sequence[Message], *, max_output_tokens: int) -> TeacherAnswer:
        """Asks once; if the model does not accept a parameter, drops it and sends the request again."""
        while True:
            body = self._request.body(messages, max_output_tokens)
            try:
                async with asyncio.timeout(self._timeout_seconds):
                    response = await self._post(body)
            except TimeoutError:
                raise self._failures.timed_out(self._timeout_seconds) from None
            except openai.APIConnectionError as error:
                failure = lost(error, self._failures, self._timeout_seconds)
                raise failure from self._failures.safe_cause(error)
            except openai.APIStatusError as error:
                if self._request.adapts_to(chat_completions.error_object(error.body), body):
                    continue
                reply = chat_completions.failed_reply(error.status_code, error.body, error.response.headers)
                raise self._failures.of_reply(reply) from self._failures.safe_cause(error)
            return chat_completions.read_answer(
                response.content,
                response.headers,
                model=self._identity["model"],
                failures=self._failures,
                where=self._where,
            )

    async def _post(self, body: dict[str, object]) -> httpx2.Response:
        """The raw response: the typed method spends half of a call's time copying an already valid body."""
        return await self._client.post("/chat/completions", body=body, cast_to=httpx2.Response)

    async def close(self) -> None:
        await self._client.close()
