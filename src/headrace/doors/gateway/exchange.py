"""One request from pinned version to last byte, whichever of the two shapes it has."""

from collections.abc import AsyncGenerator, Sequence
from typing import Any, Protocol

from fastapi import Request
from fastapi.responses import JSONResponse
from starlette.responses import Response

from headrace.doors.gateway import errors, response_shapes
from headrace.doors.gateway.event_stream import DONE, ClientGoneError, EventStream, event, unless_gone
from headrace.doors.gateway.gateway_metrics import GatewayMetrics
from headrace.doors.gateway.openai_requests import GenerationBody
from headrace.foundation.clock import Clock
from headrace.foundation.errors import HeadraceError
from headrace.serving.answering import AnswerService
from headrace.serving.generation import GenerationStep, TokenLogprob
from headrace.serving.open_answer import OpenAnswer
from headrace.serving.question import Question, Wishes

CLIENT_GONE = 499
"""No client reads it; the metrics show it."""


class Shape(Protocol):
    """What differs between chat completions and completions."""

    @property
    def prefix(self) -> str:
        """Of answer ids."""
        ...

    @property
    def object_name(self) -> str: ...

    @property
    def chunk_name(self) -> str: ...

    def opening(self, answer: OpenAnswer) -> list[dict[str, Any]]:
        """Choices of the first chunks, before any piece."""
        ...

    def piece(self, answer: OpenAnswer, index: int, step: GenerationStep) -> dict[str, Any]:
        """A chunk's choice."""
        ...

    def whole(self, answer: OpenAnswer, index: int, logprobs: Sequence[TokenLogprob]) -> dict[str, Any]:
        """A body's choice."""
        ...


class Exchange:
    """Answers requests with a service; counts them."""

    def __init__(self, service: AnswerService, metrics: GatewayMetrics, clock: Clock) -> None:
        self._service = service
        self._metrics = metrics
        self._clock = clock

    async def answer(
        self, request: Request, body: GenerationBody, questions: Sequence[Question], wishes: Wishes, shape: Shape
    ) -> Response:
        """The response, streamed or whole; errors in OpenAI's shape."""
        started = self._clock.monotonic()
        try:
            answer = await unless_gone(request, self._service.ask(body.model, questions, wishes, prefix=shape.prefix))
            self._metrics.first_piece(body.model, self._clock.monotonic() - started)
            if body.stream:
                return self._stream(answer, body, shape, started)
            return await self._whole(request, answer, body, shape, started)
        except HeadraceError as error:
            refused = errors.response(error)
            self._metrics.request(body.model, refused.status_code, self._clock.monotonic() - started)
            return refused
        except ClientGoneError:
            self._metrics.request(body.model, CLIENT_GONE, self._clock.monotonic() - started)
            return Response(status_code=CLIENT_GONE)

    async def _whole(
        self, request: Request, answer: OpenAnswer, body: GenerationBody, shape: Shape, started: float
    ) -> Response:
        logprobs: list[list[TokenLogprob]] = [[] for _ in answer.choices]

        async def read() -> str:
            async for index, step in answer.steps():
                logprobs[index] += step.logprobs
                if step.finish_reason == "error":
                    return step.error
            return ""

        try:
            failed = await unless_gone(request, read())
        finally:
            await answer.close()
            self._metrics.answered(answer)
        status = 500 if failed else 200
        self._metrics.request(body.model, status, self._clock.monotonic() - started)
        if failed:
            return JSONResponse(errors.body(failed, kind="server_error", code="internal_error"), status)
        content = response_shapes.envelope(answer, shape.object_name, body.model, self._created())
        content["choices"] = [shape.whole(answer, index, found) for index, found in enumerate(logprobs)]
        content["usage"] = response_shapes.usage(answer)
        if knowledge := response_shapes.knowledge(answer):
            content["knowledge"] = knowledge
        return JSONResponse(content, headers=response_shapes.headers(answer))

    def _stream(self, answer: OpenAnswer, body: GenerationBody, shape: Shape, started: float) -> Response:
        refusals: list[HeadraceError] = []

        async def close() -> None:
            await answer.close()
            whole = all(choice.finish_reason is not None for choice in answer.choices)
            status = errors.described(refusals[0])[0] if refusals else 200 if whole else CLIENT_GONE
            self._metrics.request(body.model, status, self._clock.monotonic() - started)
            self._metrics.answered(answer)

        async def events() -> AsyncGenerator[bytes]:
            try:
                async for data in self._events(answer, body, shape):
                    yield data
            except (
                HeadraceError
            ) as error:  # the status is sent already: an event in place of the end says what happened
                refusals.append(error)
                yield event(errors.described(error)[1])

        return EventStream(events(), close, response_shapes.headers(answer))

    async def _events(self, answer: OpenAnswer, body: GenerationBody, shape: Shape) -> AsyncGenerator[bytes]:
        include_usage = body.stream_options is not None and body.stream_options.include_usage
        head = response_shapes.envelope(answer, shape.chunk_name, body.model, self._created())
        if include_usage:
            head["usage"] = None
        knowledge = response_shapes.knowledge(answer)
        for place, choice in enumerate(shape.opening(answer)):
            first = {"knowledge": knowledge} if knowledge and place == 0 else {}
            yield event({**head, "choices": [choice], **first})
        async for index, step in answer.steps():
            if step.finish_reason == "error":
                yield event(errors.body(step.error, kind="server_error", code="internal_error"))
                return
            if step.text or step.logprobs or step.finish_reason is not None:
                yield event({**head, "choices": [shape.piece(answer, index, step)]})
        if include_usage:
            yield event({**head, "choices": [], "usage": response_shapes.usage(answer)})
        yield DONE

    def _created(self) -> int:
        return self._clock.now_ms() // 1000
