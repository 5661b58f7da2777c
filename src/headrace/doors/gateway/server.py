"""Opens the gateway at an address."""

import uvicorn
from fastapi import FastAPI

from headrace.doors.gateway.security import check_address

SHUTDOWN_SECONDS = 35
"""For answers in progress when the server is asked to stop."""


def build_server(app: FastAPI, host: str = "127.0.0.1", port: int = 5000) -> uvicorn.Server:
    """A server; run it with `await server.serve()` in the caller's event loop.

    InvalidDeclarationError if other machines could reach an app created without a key.
    """
    check_address(host, app.state.api_key)
    config = uvicorn.Config(
        app, host=host, port=port, log_level="warning", lifespan="on", timeout_graceful_shutdown=SHUTDOWN_SECONDS
    )
    return uvicorn.Server(config)
