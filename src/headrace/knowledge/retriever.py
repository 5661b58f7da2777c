"""From a question to passages: pins a generation, embeds the question with that generation's model, queries the store."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from headrace.foundation.clock import SYSTEM_CLOCK, Clock
from headrace.foundation.errors import NotFoundError, UnavailableError
from headrace.knowledge.analysis import terms
from headrace.knowledge.filters import Condition
from headrace.knowledge.generation import Generation
from headrace.knowledge.query import AsOf, Hit, Mode, StoreQuery, Vector
from headrace.knowledge.store import KnowledgeStore
from headrace.models.embedder import Embedder

MAX_QUESTION = 20_000
"""Characters of a question that are used: embedders truncate far earlier, and further terms would not distinguish passages."""


@dataclass(frozen=True, slots=True)
class Retrieved:
    """The result for one question, from one snapshot of one generation."""

    hits: tuple[Hit, ...]
    generation: str
    as_of: AsOf
    degraded: str = ""
    """Why only keywords were searched; '': the search was complete."""


class Retriever:
    """Over one store; as thread-safe as the store and the embedders."""

    def __init__(
        self,
        store: KnowledgeStore,
        embedder_of: Callable[[str], Embedder],
        *,
        mode: Mode = "hybrid",
        limit: int = 5,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """`embedder_of`: the embedder for a model's fingerprint; NotFoundError, UnavailableError."""
        self._store, self._embedder_of = store, embedder_of
        self._mode: Mode = mode
        self._limit, self._clock = limit, clock

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
        canary: bool = False,
        degrade: bool = False,
    ) -> Retrieved:
        """The best passages; `as_of` defaults to now, `generation` to the active one.

        NotFoundError (no such generation), UnavailableError (none is active yet, or the store or embedder is unavailable; with
        `degrade` an unavailable embedder leaves keyword search).
        """
        moments = None if as_of is None else [as_of]
        return self.search_many(
            [question], limit=limit, mode=mode, where=where, as_of=moments, generation=generation, exact=exact,
            canary=canary, degrade=degrade,
        )[0]  # fmt: skip

    def search_many(
        self,
        questions: Sequence[str],
        *,
        limit: int | None = None,
        mode: Mode | None = None,
        where: Sequence[Condition] = (),
        as_of: Sequence[AsOf] | None = None,
        generation: str | None = None,
        exact: bool = False,
        canary: bool = False,
        degrade: bool = False,
    ) -> list[Retrieved]:
        """The same for several questions, embedded together; `as_of`: a time for each."""
        if not questions:
            return []
        pinned = self._pin(generation)
        asked = [_readable(question) for question in questions]
        vectors, chosen, degraded = self._vectors(asked, pinned, mode or self._mode, degrade=degrade)
        now = AsOf(self._clock.now_ms())
        found: list[Retrieved] = []
        for place, question in enumerate(asked):
            moment = as_of[place] if as_of else now
            query = StoreQuery(
                pinned.id, moment, chosen, limit or self._limit, vectors[place] if vectors is not None else None,
                terms(question), tuple(where), exact, current=as_of is None, canary=canary,
            )  # fmt: skip
            found.append(Retrieved(tuple(self._store.search(query)), pinned.id, moment, degraded))
        return found

    def _pin(self, wanted: str | None) -> Generation:
        known = self._store.generations()
        if wanted is not None:
            for one in known:
                if one.id == wanted:
                    return one
            raise NotFoundError(
                f"there is no generation {wanted!r}",
                next_step=f"use one of: {', '.join(one.id for one in known) or '(none)'}",
            )
        for one in known:
            if one.state == "active":
                return one
        raise UnavailableError(
            "nothing is indexed yet", next_step="start the index with `headrace up` and wait until it is ready"
        )

    def _vectors(
        self, questions: Sequence[str], pinned: Generation, mode: Mode, *, degrade: bool
    ) -> tuple[list[Vector] | None, Mode, str]:
        """Their vectors if the mode needs them, the possible mode, and why it differs from the requested one."""
        if mode == "keyword":
            return None, mode, ""
        try:
            return list(self._embedder_of(pinned.model).embed(questions)), mode, ""
        except (UnavailableError, NotFoundError) as error:
            if not degrade:
                raise
            return None, "keyword", f"searched by keywords only: {error}"


def _readable(question: str) -> str:
    """Its beginning, without lone surrogates, which no tokenizer accepts."""
    return question[:MAX_QUESTION].encode("utf-8", "replace").decode("utf-8")
