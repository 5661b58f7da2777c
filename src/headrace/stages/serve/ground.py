"""Passages for the gateway: every served knowledge base, opened once, searched beside the event loop."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from headrace.foundation.clock import SYSTEM_CLOCK, Clock
from headrace.foundation.errors import NotFoundError
from headrace.foundation.resource_id import ResourceId
from headrace.knowledge.filters import parse_filter
from headrace.knowledge.query import Mode
from headrace.knowledge.retriever import Retrieved
from headrace.serving.grounding import Grounded, KnowledgeWishes
from headrace.serving.version_source import VersionRef
from headrace.stages.index.knowledge_view import KnowledgeView
from headrace.stages.index.options import KnowledgeOptions
from headrace.stages.prompt.knowledge import passage
from headrace.stages.serve.options import ServedModel

SEARCHES_AT_ONCE = 4
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class SearchWishes:
    """What a search at the door may say."""

    limit: int | None = None
    mode: Mode | None = None
    filter: dict[str, object] | None = None


class Library:
    """The knowledge bases of one process. Also the gateway's Grounding."""

    def __init__(
        self,
        bases: Sequence[KnowledgeOptions],
        models: Sequence[ServedModel],
        state: Path,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._options = {one.id: one for one in bases}
        self._models = {one.id: one for one in models if one.knowledge}
        self._state, self._clock = state, clock
        self._views: dict[ResourceId, KnowledgeView] = {}
        self._threads = ThreadPoolExecutor(SEARCHES_AT_ONCE, thread_name_prefix="search")
        self._opening = asyncio.Lock()

    async def find(self, version: VersionRef, question: str, wishes: KnowledgeWishes) -> Grounded:
        model = self._models.get(version.model)
        if model is None or model.knowledge is None:
            return Grounded()
        given = parse_filter(wishes.filter, names=model.knowledge.columns.metadata)
        view = await self._view(model.knowledge.id)
        limit = wishes.limit or model.knowledge_limit
        found = await self._run(
            lambda: view.search(question, limit=limit, where=given, generation=version.knowledge_version, degrade=True)
        )
        return Grounded(tuple(passage(hit) for hit in found.hits), found.generation, found.degraded)

    async def search(self, base: ResourceId, question: str, wishes: SearchWishes) -> Retrieved:
        """For people. NotFoundError, InvalidDeclarationError, UnavailableError."""
        view = await self._view(base)
        given = parse_filter(wishes.filter or {}, names=view.options.columns.metadata)
        return await self._run(
            lambda: view.search(question, limit=wishes.limit, mode=wishes.mode, where=given, degrade=True)
        )

    def close(self) -> None:
        self._threads.shutdown(wait=True)
        for view in self._views.values():
            view.close()

    async def _view(self, key: ResourceId) -> KnowledgeView:
        options = self._options.get(key)
        if options is None:
            known = ", ".join(one.full_name for one in sorted(self._options)) or "none is applied"
            raise NotFoundError(f"there is no KnowledgeBase {key.full_name}", next_step=f"use one of: {known}")
        async with self._opening:
            if key not in self._views:
                self._views[key] = await self._run(lambda: KnowledgeView(options, self._state, self._clock))
        return self._views[key]

    async def _run(self, work: Callable[[], Found]) -> Found:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)
