"""One replica of an embedding model: exports the model if needed, then answers OpenAI's /v1/embeddings on loopback.

Started by the supervisor as `python -m headrace.doors.embed_role`. Its address and key are in a file
that only the owner can read; stages that embed on this machine read it.
"""

import os
import secrets
import signal
import socket
import sys
from pathlib import Path

import msgspec
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from headrace.control.orders import RoleOrder
from headrace.control.role import read_order
from headrace.doors.gateway import embeddings, errors
from headrace.doors.gateway.security import BearerKey
from headrace.doors.gateway.server import build_server
from headrace.foundation.clock import SYSTEM_CLOCK
from headrace.foundation.resource_id import ResourceId
from headrace.log.topic_log import TopicLog
from headrace.models.embedder import Embedder
from headrace.models.http_embedder import Endpoint, endpoint_file
from headrace.models.onnx import Prepared, open_embedder, prepare
from headrace.stages.embed.embedding import embedders_folder
from headrace.stages.embed.options import EmbedOptions
from headrace.stages.stage import Condition, StageReporter

HOST = "127.0.0.1"


def application(model: ResourceId, embedder: Embedder, key: str) -> FastAPI:
    """The door of one model."""
    app = FastAPI(title="Headrace embeddings", docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(embeddings.routes(lambda _: embedder, lambda: {model.name: model}))
    app.add_exception_handler(RequestValidationError, errors.on_invalid_body)
    app.add_exception_handler(HTTPException, errors.on_http_error)
    app.state.api_key = key
    app.add_middleware(BearerKey, api_key=key)
    return app


def run(order: RoleOrder, log: TopicLog) -> int:
    """Answers until SIGTERM or SIGINT. Returns the exit code."""
    (spec,) = order.specs
    options = spec.options
    assert isinstance(options, EmbedOptions)
    replica = int(order.process.rpartition("/")[2])
    reporter = StageReporter(log, spec.id, f"embed-{replica}", SYSTEM_CLOCK)

    def progress(what: str) -> None:
        sys.stderr.write(f"{options.id.full_name}: {what}\n")
        sys.stderr.flush()
        reporter.say(Condition("Embedding", "False", "Preparing", what), now=True)

    assert options.folder is not None
    threads = max(1, int(options.limits.cpu or 1))
    prepared = prepare(
        options.folder, embedders_folder(order.state), threads=threads, golden=options.golden, progress=progress
    )
    embedder = open_embedder(prepared.folder, threads=threads)
    embedder.embed(["ready"])
    path = endpoint_file(order.state, options.id, replica)
    with socket.create_server((HOST, 0)) as listener:
        key = secrets.token_urlsafe(32)
        server = build_server(application(options.id, embedder, key))
        announce(path, _endpoint(options, prepared, listener.getsockname()[1], key))
        reporter.say(Condition("Embedding", "True", "Ready", _why(prepared)), progress=figures(prepared), now=True)
        for sign in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sign, lambda *_: None)  # uvicorn raises them again once it has ended; the file must go first
        try:
            server.run([listener])
        finally:
            path.unlink(missing_ok=True)
    return 0


def announce(path: Path, endpoint: Endpoint) -> None:
    """Writes the file at once or not at all."""
    path.parent.mkdir(exist_ok=True, mode=0o700)
    part = path.with_suffix(f".{os.getpid()}.part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(msgspec.json.encode(endpoint))
    part.replace(path)


def figures(prepared: Prepared) -> dict[str, int | float | str]:
    """The chosen precision, and the measurements of each."""
    told: dict[str, int | float | str] = {
        "precision": prepared.precision, "dimension": prepared.dimension, "maxTokens": prepared.max_tokens,
        "model": prepared.fingerprint,
    }  # fmt: skip
    for name, one in prepared.figures.items():
        told[f"{name}Ndcg"] = one.ndcg
        told[f"{name}TextsPerSecond"] = one.texts_per_second
        if one.rejected:
            told[f"{name}Rejected"] = one.rejected
    return told


def _why(prepared: Prepared) -> str:
    refused = [f"{name}: {one.rejected}" for name, one in prepared.figures.items() if one.rejected]
    return "; ".join([f"{prepared.precision} was chosen", *refused])


def _endpoint(options: EmbedOptions, prepared: Prepared, port: int, key: str) -> Endpoint:
    return Endpoint(
        HOST,
        port,
        key,
        options.id.name,
        prepared.fingerprint,
        prepared.dimension,
        prepared.max_tokens,
        prepared.precision,
    )


def main() -> int:
    """Runs the order on standard input."""
    order = read_order()
    log = order.backends.open_log(order.state)
    try:
        return run(order, log)
    finally:
        log.close()


if __name__ == "__main__":
    sys.exit(main())
