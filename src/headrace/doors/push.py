"""The HTTP door for events: `POST /apis/streams.nstream.ai/v1/namespaces/{ns}/streamconnectors/{name}/events`."""

import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from headrace.connectors.http.inbox import (
    MalformedPushError,
    UnsupportedContentError,
    accept,
    inbox_topic,
    ingest_group,
)
from headrace.connectors.http.options import Options
from headrace.connectors.source import SourceOptions
from headrace.foundation.clock import SYSTEM_CLOCK, Clock
from headrace.foundation.errors import RetryableError
from headrace.foundation.resource_id import ResourceId
from headrace.log.record import NewRecord
from headrace.log.topic_log import Append, Commit, TopicLog
from headrace.stages.stage import StageReporter, read_statuses

PATH = "/apis/streams.nstream.ai/v1/namespaces/{namespace}/streamconnectors/{name}/events"
_RETRY_AFTER_SECONDS = 1


@dataclass(slots=True)
class _Repeats:
    """Counts repeated pushes of a source, separately from ingest, because a repeat never leaves the inbox."""

    reporter: StageReporter
    _count: int = -1
    """−1: not looked up yet."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, repeats: int) -> None:
        """Reports them; the events themselves are already on disk."""
        if not repeats:
            return
        with self._lock:
            if self._count < 0:
                self._count = self._said()
            self._count += repeats
            with suppress(RetryableError):  # the next call shows these too
                self.reporter.say(progress={"duplicates": self._count}, now=True)

    def _said(self) -> int:
        mine = (one for one in read_statuses(self.reporter.log) if (one.resource, one.stage) == self._name)
        return int(next((one.progress.get("duplicates", 0) for one in mine), 0))

    @property
    def _name(self) -> tuple[str, str]:
        return str(self.reporter.resource), self.reporter.stage


def push_router(
    inboxes: Iterable[SourceOptions],
    log: TopicLog,
    *,
    max_pending: int = 100_000,
    clock: Clock = SYSTEM_CLOCK,
) -> APIRouter:
    """The door of the pushed sources.

    202 `{"accepted", "duplicates"}` once the events are on disk; 400 malformed, 404 no such source, 413 too large, 415 not
    JSON, 429 with `Retry-After` while `max_pending` events wait to be read, 503 while the log cannot write.
    """
    router = APIRouter()
    sources = {one.id: one for one in inboxes}
    for one in sources.values():
        log.ensure_topic(inbox_topic(one))
    repeats = {one: _Repeats(StageReporter(log, one, "push", clock)) for one in sources}

    @router.post(PATH, status_code=202, summary="Pushes events into a stream", tags=["streamconnectors"])
    async def push(namespace: str, name: str, request: Request) -> JSONResponse:  # pyright: ignore[reportUnusedFunction]
        source = ResourceId("StreamConnector", namespace, name)
        options = sources.get(source)
        if options is None:
            known = ", ".join(sorted(one.full_name for one in sources)) or "none"
            return _error(404, "NotFound", f"there is no http source {source.full_name}; known sources: {known}")
        limit = Options.model_validate(dict(options.options)).max_body_bytes
        body = await _read(request, limit)
        if body is None:
            return _error(413, "TooLarge", f"the body exceeds {limit} bytes (http.maxBodyBytes); send smaller requests")
        if encoding := request.headers.get("content-encoding"):
            return _error(415, "UnsupportedContent", f"content encoding {encoding!r} is not supported; send plain JSON")
        return await run_in_threadpool(_take_in, options, log, request, body, max_pending, clock, repeats[source])

    return router


def _take_in(
    options: SourceOptions,
    log: TopicLog,
    request: Request,
    body: bytes,
    max_pending: int,
    clock: Clock,
    repeats: _Repeats,
) -> JSONResponse:
    """Parses and commits; runs in a thread, so that requests that arrive together share one fsync."""
    headers = request.headers
    try:
        records = accept(options, body, headers.get("content-type", ""), headers.get("idempotency-key"), clock.now_ms())
    except MalformedPushError as error:
        lines = [{"line": problem.line, "reason": problem.reason} for problem in error.problems]
        return _error(400, "Malformed", str(error), lines=lines)
    except UnsupportedContentError as error:
        return _error(415, "UnsupportedContent", str(error))
    try:
        return _commit(options, log, records, max_pending, repeats)
    except RetryableError as error:
        return _error(503, "Unavailable", str(error), retry=True)


def _commit(
    options: SourceOptions, log: TopicLog, records: list[NewRecord], max_pending: int, repeats: _Repeats
) -> JSONResponse:
    topic = inbox_topic(options).name
    pending = log.topic(topic).end_offset - log.offset(ingest_group(options), topic)
    if pending + len(records) > max_pending and pending > 0:
        return _error(429, "Busy", f"{pending} events are waiting to be read, the limit is {max_pending}", retry=True)
    duplicates = 0
    if records:
        duplicates = log.commit(Commit(appends=[Append(topic, records)])).duplicates.get(topic, 0)
        repeats.add(duplicates)
    return JSONResponse({"accepted": len(records) - duplicates, "duplicates": duplicates}, status_code=202)


async def _read(request: Request, limit: int) -> bytes | None:
    """The body; None if it exceeds the limit, in which case the rest is not read."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            return None
    return bytes(body)


def _error(status: int, code: str, message: str, *, retry: bool = False, **more: object) -> JSONResponse:
    headers = {"Retry-After": str(_RETRY_AFTER_SECONDS)} if retry else None
    return JSONResponse({"error": {"code": code, "message": message, **more}}, status_code=status, headers=headers)
