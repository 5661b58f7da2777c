"""A server of this process that takes webhooks and answers as a test tells it."""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

Answer = tuple[int, dict[str, str]]
"""Status and headers."""


class WebhookReceiver:
    """`script` holds the answers to the next requests; then `judge` decides by the body, 200 where there is none."""

    def __init__(self, judge: Callable[[bytes], int] | None = None) -> None:
        self.requests: list[tuple[dict[str, str], bytes]] = []
        """(headers, their names in small letters; body) of each request."""
        self.methods: list[str] = []
        """Of each request."""
        self.script: list[Answer] = []
        self.judge = judge or (lambda _: 200)
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_PUT(self) -> None:
                self.do_POST()

            def do_POST(self) -> None:
                receiver.methods.append(self.command)
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.requests.append(({name.lower(): value for name, value in self.headers.items()}, body))
                status, headers = receiver.script.pop(0) if receiver.script else (receiver.judge(body), {})
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it so
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/hook"

    @property
    def keys(self) -> list[str]:
        """The idempotency key of each request."""
        return [headers["idempotency-key"] for headers, _ in self.requests]

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
