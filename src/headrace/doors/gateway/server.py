"""Opens the gateway at an address."""

import uvicorn
from fastapi import FastAPI

from headrace.doors.gateway.security import check_address

SHUTDOWN_SECONDS = 35
"""For answers that are being written when the server is told to end."""


def build_server(app: FastAPI, host: str = "127.0.0.1", port: int = 5000) -> uvicorn.Server:
    """A server that `await server.serve()` runs inside an event loop of one's own.

    InvalidDeclarationError where others could reach an app that was created without a key.
    """
    check_address(host, app.state.api_key)
    config = uvicorn.Config(
        app, host=host, port=port, log_level="warning", lifespan="on", timeout_graceful_shutdown=SHUTDOWN_SECONDS
    )
    return uvicorn.Server(config)
