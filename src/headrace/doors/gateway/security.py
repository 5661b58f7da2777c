"""Access: loopback needs no key; on any other address the server refuses to start without one."""

import hmac
import ipaddress
import socket

from fastapi import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headrace.doors.gateway import errors
from headrace.foundation.errors import InvalidDeclarationError

OPEN_PATHS = frozenset({"/healthz", "/readyz"})
"""Paths of probes, which need no key."""


def is_loopback(host: str) -> bool:
    """Whether every address that a host name means is this machine's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(host, None)
    except OSError:
        return False
    return bool(found) and all(ipaddress.ip_address(str(entry[4][0])).is_loopback for entry in found)


def check_address(host: str, api_key: str | None) -> None:
    """InvalidDeclarationError if other machines could reach the server without a key."""
    if not api_key and not is_loopback(host):
        raise InvalidDeclarationError(
            f"{host} is reachable from other machines, and no API key is set",
            next_step="Set an API key, or listen on 127.0.0.1.",
        )


class BearerKey:
    """Accepts requests with `Authorization: Bearer KEY`. Plain ASGI, so that streams and disconnects pass untouched."""

    def __init__(self, app: ASGIApp, api_key: str) -> None:
        self._app = app
        self._expected = f"Bearer {api_key}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in OPEN_PATHS:
            given = HTTPConnection(scope).headers.get("authorization", "").encode()
            if not hmac.compare_digest(given, self._expected):
                content = errors.body(
                    "Incorrect API key provided.", kind="invalid_request_error", code="invalid_api_key"
                )
                await JSONResponse(content, 401, {"www-authenticate": "Bearer"})(scope, receive, send)
                return
        await self._app(scope, receive, send)


class BodyLimit:
    """Refuses bodies of OpenAI's endpoints longer than `max_bytes`, announced or not, before they are held in memory."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/v1/"):
            await self._app(scope, receive, send)
            return
        announced = HTTPConnection(scope).headers.get("content-length", "")
        if announced.isdigit() and int(announced) > self._max_bytes:
            content = errors.body(self._message(), kind="invalid_request_error", code="body_too_large")
            await JSONResponse(content, 413, {"connection": "close"})(scope, receive, send)
            return
        await self._app(scope, self._counted(receive), send)

    def _counted(self, receive: Receive) -> Receive:
        taken = 0

        async def counting() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self._max_bytes:
                raise HTTPException(413, self._message())
            return message

        return counting

    def _message(self) -> str:
        return f"The body exceeds {self._max_bytes} bytes."
