"""The door to knowledge bases: `POST /apis/llm.nstream.ai/v1/namespaces/{ns}/knowledgebases/{name}/search`."""

from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from headrace.doors.hits import hit_json
from headrace.foundation.resource_id import ResourceId
from headrace.stages.serve.ground import Library, SearchWishes

PATH = "/apis/llm.nstream.ai/v1/namespaces/{namespace}/knowledgebases/{name}/search"
MAX_PASSAGES = 100


class SearchBody(BaseModel):
    """A question to a knowledge base."""

    model_config = ConfigDict(extra="forbid")

    query: str
    limit: int | None = Field(default=None, ge=1, le=MAX_PASSAGES)
    mode: Literal["vector", "keyword", "hybrid"] | None = None
    filter: dict[str, Any] = {}


def knowledge_router(library: Library) -> APIRouter:
    """Searches; errors in the gateway's shape."""
    router = APIRouter()

    @router.post(PATH, summary="Searches a knowledge base", tags=["knowledgebases"])
    async def search(namespace: str, name: str, body: SearchBody) -> dict[str, Any]:  # pyright: ignore[reportUnusedFunction]
        wishes = SearchWishes(body.limit, body.mode, body.filter)
        found = await library.search(ResourceId("KnowledgeBase", namespace, name), body.query, wishes)
        told = {"namespace": namespace, "knowledgeBase": name, "version": found.generation, "asOf": found.as_of.at_ms}
        if found.degraded:
            told["degraded"] = found.degraded
        return {**told, "results": [hit_json(hit) for hit in found.hits]}

    return router
