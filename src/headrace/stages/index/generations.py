"""Which generations there are and how one follows another: built beside the old one, switched by one pointer, kept for roll-back."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import msgspec

from headrace.foundation.clock import Clock
from headrace.foundation.errors import NotFoundError
from headrace.foundation.failpoints import failpoint
from headrace.knowledge.chunking import ChunkOptions, chunk, chunker_name
from headrace.knowledge.generation import Generation
from headrace.knowledge.query import AsOf, Counts
from headrace.knowledge.revision import Chunk, DocumentChange, Revision
from headrace.knowledge.store import Backfill, KnowledgeStore, StoredDocument
from headrace.log.topic_log import TopicLog
from headrace.models.embedder import Embedder
from headrace.promotion import registry
from headrace.stages.embed.embedding import Embedders
from headrace.stages.index.generation_check import agree
from headrace.stages.index.options import KnowledgeOptions
from headrace.stages.stage import Condition

BACKFILLED = 64
"""Documents per step, so that live changes never wait long."""
KEPT_MS = 86_400_000
"""An old generation is kept a day for roll-back, and for as long as a version that was trained with it is served."""
LOOK_SECONDS = 5.0
EMBEDDED = 256
"""Texts at once."""


class Generations:
    """Of one knowledge base, for its one writer."""

    def __init__(
        self,
        options: KnowledgeOptions,
        store: KnowledgeStore,
        epoch: int,
        embedders: Embedders,
        log: TopicLog,
        clock: Clock,
    ) -> None:
        self._options, self._store, self._epoch = options, store, epoch
        self._embedders, self._log, self._clock = embedders, log, clock
        self._known: list[Generation] = []
        self._wanted: Generation | None = None
        self._looked_at = -LOOK_SECONDS
        self._counts = Counts(0, 0)
        self._disagreement = ""

    @property
    def active(self) -> Generation | None:
        return next((one for one in self._known if one.state == "active"), None)

    @property
    def building(self) -> str:
        """Id of the generation that is being built; '': none."""
        return next((one.id for one in self._known if one.state == "building"), "")

    def ensure(self) -> None:
        """The declared generation is there: active at once where it is the first, else to be built. UnavailableError while no embedder answers."""
        if self._wanted is not None:
            return
        embedder = self._embedders.current
        wanted = Generation(
            embedder.fingerprint, embedder.dimension, chunker_name(self._options.chunking, embedder.fingerprint)
        )
        self._known = self._store.generations()
        now = self._clock.now_ms()
        for one in self._known:
            if one.state == "building" and one.id != wanted.id:  # half-built, and no longer what is declared
                self._store.drop_generation(self._epoch, one.id)
        known = next((one for one in self._known if one.id == wanted.id), None)
        if self.active is None:
            self._put(
                replace(
                    known or wanted, state="active", created_ms=known.created_ms if known else now, activated_ms=now
                )
            )
        elif known is None:
            self._put(replace(wanted, created_ms=now))
        elif known.state == "kept":
            self._put(replace(known, state="building"))
        self._known = self._store.generations()
        self._wanted = next(one for one in self._known if one.id == wanted.id)

    def revisions(self, changes: Sequence[DocumentChange]) -> list[Revision]:
        """The changes cut for every generation, their new texts embedded and kept."""
        by_generation: dict[str, list[tuple[Chunk, ...]]] = {}
        for one in self._live():
            embedder = self._embedders.of(one.model)
            cut = [() if change.deleted else _cut(change, one, embedder) for change in changes]
            self._embed(one, embedder, [piece for pieces in cut for piece in pieces])
            by_generation[one.id] = cut
        return [
            Revision(change, {generation: cut[place] for generation, cut in by_generation.items()})
            for place, change in enumerate(changes)
        ]

    def advance(self) -> bool:
        """One step of building, switching or letting go. False: there was nothing to do."""
        building = next((one for one in self._known if one.state == "building"), None)
        if building is not None:
            return self._backfill(building) or self._switch(building)
        return self._let_go()

    def condition(self) -> Condition:
        """`GenerationReady`."""
        if self._disagreement:
            return Condition("GenerationReady", "False", "Disagrees", self._disagreement)
        if self.building:
            return Condition("GenerationReady", "False", "Building", f"{self.building} is being built beside {self.active.id if self.active else 'nothing'}")  # fmt: skip
        return Condition("GenerationReady", "True", "Active", self.active.id if self.active else "")

    def progress(self) -> dict[str, int | float | str]:
        now = self._clock.monotonic()
        active = self.active
        if active is not None and now - self._looked_at >= LOOK_SECONDS:
            self._looked_at = now
            self._counts = self._store.counts(active.id, AsOf(self._clock.now_ms()))
        return {
            "documents": self._counts.documents,
            "chunks": self._counts.chunks,
            "tombstones": self._counts.tombstones,
            "generation": active.id if active else "",
            "model": active.model if active else "",
        }

    def _live(self) -> list[Generation]:
        """Those that take live changes: all, because a kept one still answers for the versions that were trained with it.

        An active one whose model is gone answers as it is until the one that is being built takes its place.
        """
        usable: list[Generation] = []
        for one in list(self._known):
            try:
                self._embedders.of(one.model)
            except NotFoundError:  # its model is gone, so it could only grow stale
                if one.state != "active":
                    self._drop(one)
                continue
            usable.append(one)
        return usable

    def _embed(self, generation: Generation, embedder: Embedder, pieces: Iterable[Chunk]) -> None:
        """Each text once, kept before it is used; kept often, so that little is lost where the process dies."""
        texts = {piece.hash: piece.embedded for piece in pieces}
        missing = self._store.missing_vectors(generation.model, list(texts))
        for start in range(0, len(missing), EMBEDDED):
            some = missing[start : start + EMBEDDED]
            vectors = embedder.embed([texts[one] for one in some])
            failpoint("index.vectors.before")
            self._store.keep_vectors(self._epoch, generation.model, dict(zip(some, vectors, strict=True)))
            failpoint("index.vectors.after")

    def _backfill(self, building: Generation) -> bool:
        documents = self._store.not_in_generation(building.id, BACKFILLED)
        if not documents:
            return False
        embedder = self._embedders.of(building.model)
        parts = [Backfill(document.key, _cut(document, building, embedder)) for document in documents]
        self._embed(building, embedder, [piece for part in parts for piece in part.chunks])
        failpoint("index.backfill.before")
        self._store.backfill(self._epoch, building.id, parts, {})
        failpoint("index.backfill.after")
        return True

    def _switch(self, building: Generation) -> bool:
        """One pointer, once the new one holds the same documents and finds what the old one finds."""
        active = self.active
        now = AsOf(self._clock.now_ms())
        if active is not None:
            problem = agree(self._store, active, building, self._embedders, now)
            if problem:
                changed = problem != self._disagreement
                self._disagreement = problem
                return changed
        self._disagreement = ""
        failpoint("index.switch.before")
        self._put(replace(building, state="active", activated_ms=now.at_ms))
        failpoint("index.switch.after")
        return True

    def _let_go(self) -> bool:
        now = self._clock.now_ms()
        for one in self._known:
            if one.state == "kept" and now - one.retired_ms > KEPT_MS and one.id not in self._pinned():
                self._drop(one)
                return True
        return False

    def _pinned(self) -> set[str]:
        """Generations that a served version, or the one before it, was trained with."""
        pinned: set[str] = set()
        for finetuner in self._options.finetuners:
            if found := registry.load(self._log, finetuner):
                known = found[0]
                pinned |= {one.knowledge for one in known.versions if one.name in (known.served, known.previous)}
        return pinned

    def _put(self, generation: Generation) -> None:
        self._store.put_generation(self._epoch, generation)
        self._known = self._store.generations()

    def _drop(self, generation: Generation) -> None:
        failpoint("index.drop.before")
        self._store.drop_generation(self._epoch, generation.id)
        failpoint("index.drop.after")
        self._known = self._store.generations()


def _cut(document: DocumentChange | StoredDocument, generation: Generation, embedder: Embedder) -> tuple[Chunk, ...]:
    """As the generation cuts, whatever is declared by now."""
    told = msgspec.json.decode(generation.chunker, type=_Chunker)
    options = ChunkOptions(told.max_tokens, told.overlap)
    return chunk(document.text, document.media, document.title, options, embedder)


class _Chunker(msgspec.Struct, rename="camel"):
    """What `chunker_name` wrote."""

    max_tokens: int
    overlap: int
