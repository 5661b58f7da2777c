"""Embedding services that misbehave: a real server on loopback says what each is told to say."""

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from headrace.foundation.errors import UnavailableError
from headrace.models.http_embedder import Endpoint, HttpEmbedder, connect_remote


class Service(ThreadingHTTPServer):
    """Answers with `vectors` numbers per text, or with what `say` holds."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.dimension = 3
        self.say: tuple[int, dict[str, str], bytes] | None = None
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Service
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append(body)
        self.server.keys.append(self.headers.get("authorization", ""))
        status, headers, content = self.server.say or (200, {}, self._vectors(body))
        self.send_response(status)
        for name, value in {**headers, "content-length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def _vectors(self, body: dict[str, Any]) -> bytes:
        data = []
        for index, text in enumerate(body["input"]):
            vector = np.full(self.server.dimension, len(text), "<f4")
            data.append({"index": index, "embedding": base64.b64encode(vector.tobytes()).decode()})
        return json.dumps({"data": data[::-1]}).encode()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as service:
        thread = threading.Thread(target=service.serve_forever)
        thread.start()
        yield service
        service.shutdown()
        thread.join()


@pytest.fixture
def embedder(service: Service) -> Iterator[HttpEmbedder]:
    embedder = connect_remote(service.url, "sk-key", "small", dimension=3)
    yield embedder
    embedder.close()


def told(embedding: list[object], count: int = 1) -> bytes:
    return json.dumps({"data": [{"index": index, "embedding": embedding} for index in range(count)]}).encode()


def test_a_service_is_asked_as_openai_is(service: Service, embedder: HttpEmbedder) -> None:
    vectors = embedder.embed(["a", "bb"])
    assert np.allclose(vectors, 3**-0.5)
    assert service.asked == [{"model": "small", "input": ["a", "bb"], "encoding_format": "base64"}]
    assert service.keys == ["Bearer sk-key"]
    assert embedder.fingerprint.startswith("remote-")


def test_a_service_whose_dimension_is_not_declared_is_asked_for_it(service: Service) -> None:
    service.dimension = 5
    embedder = connect_remote(service.url, None, "small")
    assert embedder.dimension == 5
    assert embedder.fingerprint != connect_remote(service.url, None, "small", dimension=4).fingerprint
    embedder.close()


@pytest.mark.parametrize(
    ("say", "said"),
    [
        ((200, {}, told([1, 2])), "vectors with 2 dimensions, not 3"),
        ((200, {}, told([1, float("nan"), 2])), "not return a list of embeddings|not finite"),
        ((200, {}, told([0, 0, 0])), "a vector of zeros"),
        ((200, {}, told([1, 2, 3], 2)), "2 vectors for 1 texts"),
        ((200, {}, told(["x", 2, 3])), "not return a list of embeddings"),
        ((200, {}, b"<html>"), "not return a list of embeddings"),
        ((200, {}, b"[]"), "not return a list of embeddings"),
        ((401, {}, b"who are you"), r"refused the request \(401\): who are you — Check the API key"),
        ((404, {}, b"no such model"), r"refused the request \(404\)"),
        ((500, {}, b"oops"), "answered 500: oops"),
    ],
)
def test_what_is_wrong_with_an_answer_is_said_and_may_pass(
    service: Service, embedder: HttpEmbedder, say: tuple[int, dict[str, str], bytes], said: str
) -> None:
    service.say = say
    with pytest.raises(UnavailableError, match=said):
        embedder.embed(["text"])
    service.say = None
    assert embedder.embed(["text"]).shape == (1, 3)


def test_a_busy_service_says_how_long_to_wait(service: Service, embedder: HttpEmbedder) -> None:
    service.say = (429, {"retry-after": "7"}, b"slow down")
    with pytest.raises(UnavailableError) as caught:
        embedder.embed(["text"])
    assert caught.value.retry_after_seconds == 7


def test_a_service_that_is_down_is_unavailable_and_its_key_is_not_shown() -> None:
    embedder = connect_remote("http://127.0.0.1:9", "sk-very-secret", "small", dimension=3)
    with pytest.raises(UnavailableError, match="does not answer") as caught:
        embedder.embed(["text"])
    assert "sk-very-secret" not in str(caught.value)
    embedder.close()


def test_another_replica_answers_where_one_is_gone(service: Service) -> None:
    gone = Endpoint("127.0.0.1", 9, "k", "m", "f", 3, 16)
    there = Endpoint("127.0.0.1", service.server_address[1], "k", "m", "f", 3, 16)
    embedder = HttpEmbedder(lambda: [gone, there])
    for _ in range(4):
        assert embedder.embed(["text"]).shape == (1, 3)
    embedder.close()


def test_replicas_that_start_anew_are_found_at_their_new_address(service: Service) -> None:
    known = [Endpoint("127.0.0.1", 9, "k", "m", "f", 3, 16)]
    embedder = HttpEmbedder(lambda: list(known))
    with pytest.raises(UnavailableError):
        embedder.embed(["text"])
    known[0] = Endpoint("127.0.0.1", service.server_address[1], "k", "m", "f", 3, 16)
    assert embedder.embed(["text"]).shape == (1, 3)
    embedder.close()


def test_many_texts_go_in_requests_of_bounded_size(service: Service, embedder: HttpEmbedder) -> None:
    assert embedder.embed([f"text {number}" for number in range(600)]).shape == (600, 3)
    assert [len(one["input"]) for one in service.asked] == [256, 256, 88]
