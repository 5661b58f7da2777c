"""A knowledge base as its readers open it: the store, the embedders and the search over both."""

from collections.abc import Sequence
from pathlib import Path

from headrace.foundation.clock import SYSTEM_CLOCK, Clock
from headrace.knowledge.filters import Condition
from headrace.knowledge.generation import Generation
from headrace.knowledge.query import AsOf, Hit, Mode
from headrace.knowledge.registry import open_store
from headrace.knowledge.retriever import Retrieved, Retriever
from headrace.knowledge.store import KnowledgeStore
from headrace.models.embedder import Embedder
from headrace.stages.embed.embedding import Embedders
from headrace.stages.index.options import KnowledgeOptions
from headrace.stages.index.stage import store_options


class KnowledgeView:
    """Belongs to one process; safe from several threads as far as the store is."""

    def __init__(
        self, options: KnowledgeOptions, state: Path, clock: Clock = SYSTEM_CLOCK, embedder: Embedder | None = None
    ) -> None:
        """`embedder`: handed in; else the declared model's processes, connected when first needed."""
        self.options = options
        self.store: KnowledgeStore = open_store(options.store, store_options(options, state))
        self._embedders = Embedders(options.embedding, state, embedder)
        self._retriever = Retriever(self.store, self._embedders.of, mode=options.mode, limit=options.limit, clock=clock)

    @property
    def active(self) -> Generation | None:
        """The generation that questions go to; None while there is none."""
        return next((one for one in self.store.generations() if one.state == "active"), None)

    @property
    def generation(self) -> str:
        """Its id; '' while there is none."""
        active = self.active
        return active.id if active else ""

    def search(
        self,
        question: str,
        *,
        limit: int | None = None,
        mode: Mode | None = None,
        where: Sequence[Condition] = (),
        as_of: AsOf | None = None,
        generation: str | None = None,
        exact: bool = False,
        degrade: bool = False,
    ) -> Retrieved:
        """What is found, best first. `generation`: one that is kept, in place of the active one; `degrade`: keywords alone where no embedder answers."""
        return self._retriever.search(
            question, limit=limit, mode=mode, where=tuple(where), as_of=as_of,
            generation=self._kept(generation), exact=exact, degrade=degrade,
        )  # fmt: skip

    def search_many(self, questions: Sequence[str], moments: Sequence[AsOf], *, limit: int) -> list[list[Hit]]:
        """One answer per question, each as of its moment."""
        found = self._retriever.search_many(questions, limit=limit, as_of=list(moments))
        return [list(one.hits) for one in found]

    def close(self) -> None:
        self._embedders.close()
        self.store.close()

    def _kept(self, generation: str | None) -> str | None:
        """The generation that is asked for while the store has it complete; None: the active one."""
        if not generation:
            return None
        there = {one.id for one in self.store.generations() if one.state != "building"}
        return generation if generation in there else None
