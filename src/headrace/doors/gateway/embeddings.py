"""`POST /v1/embeddings`, as OpenAI's clients expect it (API reference, "Create embeddings")."""

import base64
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from headrace.doors.gateway import errors
from headrace.foundation.errors import HeadraceError, InvalidDeclarationError
from headrace.foundation.resource_id import ResourceId
from headrace.models.embedder import Embedder, Vectors

MAX_TEXTS = 2_048
Text = Annotated[str, Field(min_length=1)]


class EmbeddingBody(BaseModel):
    """A request."""

    model_config = ConfigDict(extra="forbid")

    model: str
    input: Text | Annotated[list[Text], Field(min_length=1, max_length=MAX_TEXTS)] | list[int] | list[list[int]]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(default=None, ge=1)
    user: str | None = None
    """Accepted and ignored."""

    def texts(self) -> list[str]:
        """What is embedded. InvalidDeclarationError for tokens, which belong to another model's vocabulary."""
        if isinstance(self.input, str):
            return [self.input]
        texts = [one for one in self.input if isinstance(one, str)]
        if not texts and not self.input:
            raise InvalidDeclarationError("there is nothing to embed", where="input")
        if len(texts) != len(self.input):
            raise InvalidDeclarationError("tokens are not supported; send the text", where="input")
        return texts


def routes(find: Callable[[str], Embedder], names: Callable[[], Mapping[str, ResourceId]]) -> APIRouter:
    """The door of the models that `find` knows by name; `names`: the shortest name of each."""
    router = APIRouter(prefix="/v1", tags=["OpenAI"])

    @router.post("/embeddings", response_model=None)
    async def embed(body: EmbeddingBody) -> JSONResponse:  # pyright: ignore[reportUnusedFunction]
        """Turns texts into vectors."""
        try:
            return JSONResponse(await run_in_threadpool(answer, find, body))
        except HeadraceError as error:
            return errors.response(error)

    @router.get("/embeddings/models")
    async def models() -> dict[str, Any]:  # pyright: ignore[reportUnusedFunction]
        """The models that embed."""
        return {
            "object": "list",
            "data": [
                {"id": name, "object": "model", "owned_by": "headrace", "namespace": one.namespace, "name": one.name}
                for name, one in names().items()
            ],
        }

    return router


def answer(find: Callable[[str], Embedder], body: EmbeddingBody) -> dict[str, Any]:
    """The whole body of the response."""
    texts = body.texts()
    embedder = find(body.model)
    vectors = shortened(embedder.embed(texts), body.dimensions)
    tokens = sum(embedder.count_tokens(texts))
    data = [
        {"object": "embedding", "index": index, "embedding": encoded(vector, body.encoding_format)}
        for index, vector in enumerate(vectors)
    ]
    return {
        "object": "list",
        "data": data,
        "model": body.model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def shortened(vectors: Vectors, dimensions: int | None) -> Vectors:
    """The first numbers of each, of length 1 again. InvalidDeclarationError if there are fewer."""
    if dimensions is None or dimensions == vectors.shape[1]:
        return vectors
    if dimensions > vectors.shape[1]:
        raise InvalidDeclarationError(f"the model's vectors have {vectors.shape[1]} dimensions", where="dimensions")
    cut = vectors[:, :dimensions]
    return (cut / np.maximum(np.linalg.norm(cut, axis=1, keepdims=True), 1e-12)).astype(np.float32)


def encoded(vector: Vectors, encoding_format: str) -> list[float] | str:
    """A list of numbers, or little-endian float32 in base64."""
    if encoding_format == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    return vector.tolist()
