"""The FastAPI application: routes, errors, life cycle."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException
from starlette.responses import Response

from headrace import __version__
from headrace.doors.gateway import chat_completions, completions, errors, feedback
from headrace.doors.gateway.chat_completions import ChatShape
from headrace.doors.gateway.completions import CompletionShape
from headrace.doors.gateway.exchange import Exchange
from headrace.doors.gateway.gateway_metrics import GatewayMetrics
from headrace.doors.gateway.metrics import CONTENT_TYPE, Metric
from headrace.doors.gateway.openai_requests import ChatCompletionBody, CompletionBody
from headrace.doors.gateway.security import BearerKey, BodyLimit
from headrace.foundation.clock import SYSTEM_CLOCK, Clock
from headrace.foundation.errors import HeadraceError
from headrace.serving.answering import AnswerService
from headrace.serving.version_source import FeedbackSink, ModelCard

MAX_BODY_BYTES = 8 * 2**20
DRAIN_SECONDS = 30.0


def create_app(
    service: AnswerService,
    *,
    feedback_sink: FeedbackSink | None = None,
    api_key: str | None = None,
    routers: Sequence[APIRouter] = (),
    metrics: Sequence[Metric] = (),
    clock: Clock = SYSTEM_CLOCK,
    drain_seconds: float = DRAIN_SECONDS,
) -> FastAPI:
    """The gateway over a service, which it starts and stops; `routers` and `metrics` add further doors at the same address.

    Without an `api_key`, `build_server` refuses any address that other machines can reach.
    """
    starting: list[asyncio.Task[None]] = []

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        starting.append(asyncio.create_task(service.start(), name="service-start"))
        try:
            yield
        finally:
            await service.drain(drain_seconds)
            starting[0].cancel()
            await asyncio.gather(*starting, return_exceptions=True)
            await service.close()

    app = FastAPI(title="Headrace", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.api_key = api_key
    counted = GatewayMetrics(service, metrics)
    app.include_router(_openai_routes(service, Exchange(service, counted, clock)))
    app.include_router(_service_routes(service, counted, starting))
    if feedback_sink is not None:
        app.include_router(feedback.routes(feedback_sink))
    for router in routers:
        app.include_router(router)
    app.add_exception_handler(HeadraceError, errors.on_headrace_error)
    app.add_exception_handler(RequestValidationError, errors.on_invalid_body)
    app.add_exception_handler(HTTPException, errors.on_http_error)
    app.add_middleware(BodyLimit, max_bytes=MAX_BODY_BYTES)
    if api_key:
        app.add_middleware(BearerKey, api_key=api_key)
    return app


def _openai_routes(service: AnswerService, exchange: Exchange) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["OpenAI"])

    @router.post("/chat/completions", response_model=None)
    async def chat(request: Request, body: ChatCompletionBody) -> Response:
        """Answers a conversation."""
        wishes = chat_completions.wishes(body)
        return await exchange.answer(request, body, [chat_completions.question(body)], wishes, ChatShape(body))

    @router.post("/completions", response_model=None)
    async def complete(request: Request, body: CompletionBody) -> Response:
        """Continues a text."""
        wishes = completions.wishes(body)
        return await exchange.answer(request, body, completions.questions(body), wishes, CompletionShape(body))

    @router.get("/models")
    async def models() -> dict[str, Any]:
        """The models, each by its shortest unambiguous name."""
        return {"object": "list", "data": [_model(card, card.name, card.version) for card in service.models()]}

    @router.get("/models/{name:path}")
    async def model(name: str) -> dict[str, Any]:
        """One model, by any of its names; `NAME@vN` is that version."""
        version = service.resolve(name)
        card = next(card for card in service.models() if card.id == version.model)
        return _model(card, name, version.version)

    return router


def _service_routes(service: AnswerService, metrics: GatewayMetrics, starting: list[asyncio.Task[None]]) -> APIRouter:
    router = APIRouter(tags=["service"])

    @router.get("/healthz")
    async def health() -> dict[str, str]:
        """Liveness: the process answers."""
        return {"status": "ok"}

    @router.get("/readyz")
    async def ready() -> JSONResponse:
        """Readiness: every model has a live replica."""
        replicas = {card.name: service.pools[card.id].replicas for card in service.models() if card.id in service.pools}
        status = _status(service, starting)
        return JSONResponse({"status": status, "replicas": replicas}, 200 if status == "ok" else 503)

    @router.get("/metrics", response_class=PlainTextResponse)
    async def counters() -> PlainTextResponse:
        """For Prometheus."""
        return PlainTextResponse(metrics.page(), media_type=CONTENT_TYPE)

    return router


def _status(service: AnswerService, starting: list[asyncio.Task[None]]) -> str:
    if not starting or not starting[0].done():
        return "starting"
    if not starting[0].cancelled() and (error := starting[0].exception()) is not None:
        return f"failed: {error}"
    return "ok" if service.ready else "a model has no live replica"


def _model(card: ModelCard, name: str, version: str) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": card.created_ms // 1000,
        "owned_by": "headrace",
        "kind": card.id.kind,
        "namespace": card.id.namespace,
        "name": card.id.name,
        "version": version,
        "base": card.base or None,
    }
