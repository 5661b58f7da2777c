"""Embeddings over HTTP with OpenAI's API: this machine's own replicas, or an external service.

OpenAI API reference, "Create embeddings"; vectors travel as base64 of little-endian float32.
"""

import base64
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import httpx
import msgspec
import numpy as np
from tokenizers import Tokenizer

from headrace.foundation.errors import UnavailableError
from headrace.foundation.ids import derive_id
from headrace.foundation.resource_id import ResourceId
from headrace.models.embedder import Vectors

TIMEOUT_SECONDS = 60.0
TEXTS_PER_REQUEST = 256
CHARACTERS_PER_TOKEN = 4
"""The token estimate for a service with an unknown tokenizer: OpenAI's rule of thumb for English."""
_REMOTE_TOKENS = 8_191
_LASTING = frozenset({400, 401, 403, 404, 413, 422})


class Endpoint(msgspec.Struct, frozen=True):
    """A replica on this machine, as announced in its file."""

    host: str
    port: int
    key: str
    model: str
    fingerprint: str
    dimension: int
    max_tokens: int
    precision: str = ""

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}/v1"


class EmbeddingServiceError(UnavailableError):
    """A service answers, but incorrectly: nothing can be embedded until it is fixed."""


def endpoint_file(state: Path, model: ResourceId, replica: int) -> Path:
    """Where a replica announces its address and key; readable by its owner only."""
    return state / "embed" / f"{model.path_name}.{replica}.json"


def read_endpoints(state: Path, model: ResourceId) -> list[Endpoint]:
    """The replicas that have announced themselves."""
    found: list[Endpoint] = []
    for path in sorted((state / "embed").glob(f"{model.path_name}.*.json")):
        try:
            found.append(msgspec.json.decode(path.read_bytes(), type=Endpoint))
        except (OSError, msgspec.MsgspecError):
            continue  # it has ended, or is being replaced
    return found


class HttpEmbedder:
    """An Embedder over one or more endpoints, tried in turn."""

    def __init__(
        self,
        endpoints: Callable[[], Sequence[Endpoint]],
        *,
        tokenizer: Tokenizer | None = None,
        fingerprint: str = "",
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        """`endpoints`: called again whenever no known endpoint answers. `fingerprint`: for a service, which provides none."""
        self._find, self._tokenizer, self._fingerprint = endpoints, tokenizer, fingerprint
        self._known: list[Endpoint] = list(endpoints())
        self._client = httpx.Client(timeout=timeout_seconds)
        self._turn = itertools.count()
        self._lock = Lock()

    @property
    def fingerprint(self) -> str:
        return self._fingerprint or self._any().fingerprint

    @property
    def dimension(self) -> int:
        return self._any().dimension

    @property
    def max_tokens(self) -> int:
        return self._any().max_tokens

    def embed(self, texts: Sequence[str], progress: Callable[[int], None] | None = None) -> Vectors:
        dimension = self.dimension
        parts: list[Vectors] = [np.zeros((0, dimension), np.float32)]
        for start in range(0, len(texts), TEXTS_PER_REQUEST):
            parts.append(self._ask([text or " " for text in texts[start : start + TEXTS_PER_REQUEST]], dimension))
            if progress:
                progress(min(len(texts), start + TEXTS_PER_REQUEST))
        return np.concatenate(parts)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """From the checkpoint's tokenizer; an estimate for an external service."""
        if self._tokenizer is None:
            return [-(-len(text) // CHARACTERS_PER_TOKEN) for text in texts]
        return [len(one.ids) for one in self._tokenizer.encode_batch(list(texts), add_special_tokens=False)]

    def close(self) -> None:
        self._client.close()

    def _any(self) -> Endpoint:
        if not self._known:
            self._known = list(self._find())
        if not self._known:
            raise UnavailableError(
                "the embedding model's process does not answer",
                next_step="start it with `headrace up` and wait until it is ready",
            )
        return self._known[0]

    def _ask(self, texts: list[str], dimension: int) -> Vectors:
        """Every endpoint once, starting with the next in turn; then any that have appeared since."""
        self._any()
        with self._lock:
            first = next(self._turn)
        failed: UnavailableError | None = None
        for endpoints in (self._known, None):
            tried = self._refreshed() if endpoints is None else list(endpoints)
            for place in range(len(tried)):
                try:
                    return self.request(tried[(first + place) % len(tried)], texts, dimension)
                except UnavailableError as error:
                    failed = error
        raise failed or UnavailableError(
            "the embedding model's process does not answer", next_step="start it with `headrace up`"
        )

    def _refreshed(self) -> list[Endpoint]:
        self._known = list(self._find())
        return self._known

    def request(self, endpoint: Endpoint, texts: list[str], dimension: int) -> Vectors:
        """One request to one endpoint; dimension 0: any."""
        body = {"model": endpoint.model, "input": texts, "encoding_format": "base64"}
        headers = {"authorization": f"Bearer {endpoint.key}", "content-type": "application/json"}
        try:
            response = self._client.post(
                f"{endpoint.url}/embeddings", content=msgspec.json.encode(body), headers=headers
            )
        except httpx.TransportError as error:
            raise UnavailableError(
                f"{endpoint.url} does not answer: {error}", next_step="check that it is running"
            ) from error
        if response.status_code != 200:
            raise _refusal(endpoint, response)
        return read_vectors(response.content, len(texts), dimension, endpoint.url)


class RemoteEndpoints:
    """One external service; its dimension is that of its first response if none is declared."""

    def __init__(self, url: str, api_key: str | None, model: str, dimension: int | None) -> None:
        self._url, self._key, self._model, self._dimension = url.rstrip("/"), api_key or "none", model, dimension

    def __call__(self) -> list["_Remote"]:
        if self._dimension is None:
            self._dimension = self._measure()
        return [_Remote("", 0, self._key, self._model, "", self._dimension, _REMOTE_TOKENS, base=self._url)]

    def _measure(self) -> int:
        probe = _Remote("", 0, self._key, self._model, "", 0, _REMOTE_TOKENS, base=self._url)
        client = HttpEmbedder(lambda: [probe])
        try:
            return client.request(probe, ["dimension"], 0).shape[1]
        finally:
            client.close()


class _Remote(Endpoint, frozen=True, kw_only=True):
    base: str

    @property
    def url(self) -> str:
        return self.base


def connect_local(state: Path, model: ResourceId, tokenizer_folder: Path) -> HttpEmbedder:
    """The replicas of a model on this machine. UnavailableError if none has started yet."""
    tokenizer = Tokenizer.from_file(str(tokenizer_folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    embedder = HttpEmbedder(lambda: read_endpoints(state, model), tokenizer=tokenizer)
    try:
        _ = embedder.dimension
    except UnavailableError:
        embedder.close()
        raise
    return embedder


def connect_remote(url: str, api_key: str | None, model: str, *, dimension: int | None = None) -> HttpEmbedder:
    """Any service with OpenAI's API. UnavailableError, EmbeddingServiceError if the dimension must be requested."""
    endpoints = RemoteEndpoints(url, api_key, model, dimension)
    found = endpoints()[0]
    return HttpEmbedder(endpoints, fingerprint=f"remote-{derive_id(url, model, found.dimension)[:20]}")


def read_vectors(content: bytes, count: int, dimension: int, where: str) -> Vectors:
    """The vectors in a response, [count, dimension], of length 1; dimension 0: any. EmbeddingServiceError says what is wrong."""
    try:
        data: list[dict[str, Any]] = msgspec.json.decode(content)["data"]
        rows = [_row(one["embedding"]) for one in sorted(data, key=lambda one: one["index"])]
        vectors = np.stack(rows) if rows else np.zeros((0, dimension), np.float32)
    except (msgspec.MsgspecError, KeyError, TypeError, ValueError) as error:
        raise EmbeddingServiceError(f"{where} did not return a list of embeddings: {error}") from error
    if len(vectors) != count:
        raise EmbeddingServiceError(f"{where} returned {len(vectors)} vectors for {count} texts")
    if dimension and vectors.shape[1] != dimension:
        raise EmbeddingServiceError(
            f"{where} returned vectors with {vectors.shape[1]} dimensions, not {dimension}",
            next_step="declare the dimension of the service's model, or restore the model declared before",
        )
    if not np.isfinite(vectors).all():
        raise EmbeddingServiceError(f"{where} returned numbers that are not finite")
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if (lengths == 0).any():
        raise EmbeddingServiceError(f"{where} returned a vector of zeros")
    return (vectors / lengths).astype(np.float32)


def _row(given: object) -> Vectors:
    if isinstance(given, str):
        return np.frombuffer(base64.b64decode(given, validate=True), "<f4")
    return np.asarray(given, np.float32)


def _refusal(endpoint: Endpoint, response: httpx.Response) -> UnavailableError:
    said = response.text[:300]
    if response.status_code in _LASTING:
        step = "check the API key" if response.status_code in (401, 403) else "check the model's name and limits"
        return EmbeddingServiceError(
            f"{endpoint.url} refused the request ({response.status_code}): {said}", next_step=step
        )
    pause = response.headers.get("retry-after", "")
    return UnavailableError(
        f"{endpoint.url} answered {response.status_code}: {said}",
        retry_after_seconds=float(pause) if pause.replace(".", "", 1).isdigit() else None,
    )
