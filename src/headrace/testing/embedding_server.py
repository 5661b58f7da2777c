"""A server of OpenAI's embeddings over real HTTP, whose vectors come from a function: for tests of everything around the service."""

import base64
import json
import threading
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from numpy.typing import NDArray

Embed = Callable[[str, Sequence[str]], NDArray[Any]]
"""From a model's name and texts to [texts, dimension]."""


class EmbeddingServer(ThreadingHTTPServer):
    """Answers from a thread of its own until `end`."""

    daemon_threads = True

    def __init__(self, embed: Embed) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.embed = embed
        self.logins: list[str] = []
        """The header `authorization` of each request."""
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def end(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, EmbeddingServer)
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        server.logins.append(self.headers.get("authorization", ""))
        data = [
            {"index": place, "embedding": base64.b64encode(vector.astype(np.dtype("<f4")).tobytes()).decode()}
            for place, vector in enumerate(server.embed(asked["model"], asked["input"]))
        ]
        content = json.dumps({"data": data}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Prints nothing."""
