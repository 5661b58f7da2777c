"""Passages for prompts, from the documents as they were at each row's moment (SEMANTICS §3).

A row waits until the index has consumed every change that was ingested before it: first what lay in the inbox of the documents'
connector, then what its topic held, then the store. A row that is older than the first complete reading of the documents is
answered as of that reading, so that a run that starts with both does not learn from an empty store.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from headrace.events import topics
from headrace.events.control import Control, DocumentRef
from headrace.events.message import Passage
from headrace.foundation.clock import Clock
from headrace.knowledge.query import AsOf, Hit, Timeline
from headrace.knowledge.revision import SINCE_EVER
from headrace.log.record import Record
from headrace.log.topic_log import TopicLog
from headrace.models.embedder import Embedder
from headrace.stages.index.knowledge_view import KnowledgeView
from headrace.stages.index.options import KnowledgeOptions
from headrace.stages.ingest.stage import read_state

CHANGES_PER_SIGN = 1_000


class PromptKnowledgeState(msgspec.Struct, frozen=True):
    """What the prompt stage keeps of its knowledge base, in its own commit."""

    floor_ms: int = 0
    """When the documents had first been read; 0: not yet."""
    upto_ms: int = SINCE_EVER
    """Changes up to this moment have been told."""
    generation: str = ""


@dataclass(slots=True)
class _Barrier:
    """What must have been consumed before the rows at hand may be answered."""

    inbox: int | None = None
    events: int | None = None


def passage(hit: Hit) -> Passage:
    """A hit as prompts carry it."""
    return Passage(hit.document, hit.version, hit.chunk, hit.text, hit.score)


class PromptKnowledge:
    """Of one finetuner."""

    def __init__(
        self,
        options: KnowledgeOptions,
        log: TopicLog,
        state: Path,
        saved: bytes | None,
        *,
        timeline: Timeline,
        limit: int,
        clock: Clock,
        embedder: Embedder | None = None,
    ) -> None:
        self._options, self._log, self._clock = options, log, clock
        self._timeline: Timeline = timeline
        self._limit = limit
        self._view = KnowledgeView(options, state, clock, embedder)
        self._events = topics.events(options.source)
        self._inbox = topics.inbox(options.source)
        self._barrier: _Barrier | None = None
        self.state = msgspec.msgpack.decode(saved, type=PromptKnowledgeState) if saved else PromptKnowledgeState()

    def ready(self) -> bool:
        """Whether everything that was ingested before the first call since `passed` has been indexed."""
        options = self._options
        if self._barrier is None:
            self._barrier = _Barrier(self._log.topic(self._inbox).end_offset if options.pushed else 0)
        barrier = self._barrier
        if barrier.events is None:
            ingest = f"ingest/{options.source.path_name}"
            read = read_state(self._log, options.source)
            if read is None or not read.caught_up_for:
                return False
            if options.pushed and self._log.offset(ingest, self._inbox) < (barrier.inbox or 0):
                return False
            barrier.events = self._log.topic(self._events).end_offset
        if self._view.store.offset(self._events) < barrier.events or self._view.active is None:
            return False
        if not self.state.floor_ms:
            self.state = msgspec.structs.replace(self.state, floor_ms=self._clock.now_ms())
        return True

    def passed(self) -> None:
        """The rows at hand are done: the next ones wait for what was ingested before them."""
        self._barrier = None

    def moment(self, record: Record) -> AsOf:
        """From when a row sees the documents."""
        if self._timeline == "event":
            return AsOf(record.event_time, "event")
        return AsOf(max(record.ingested_at, self.state.floor_ms), "arrival")

    def signs(self, upto: AsOf) -> list[Control]:
        """What changed since the row before, for students that learned from the former versions."""
        state = self.state
        generation = self._view.generation
        if upto.at_ms <= state.upto_ms and generation == state.generation:
            return []
        first = state.upto_ms == SINCE_EVER  # nothing was learned from any version yet
        after = AsOf(state.upto_ms, self._timeline)
        found = [] if first or upto.at_ms <= state.upto_ms else self._view.store.changed(after, upto.at_ms)
        changes = [DocumentRef(one.document, one.version, one.deleted) for one in found]
        self.state = msgspec.structs.replace(state, upto_ms=max(upto.at_ms, state.upto_ms), generation=generation)
        if not changes and generation == state.generation:
            return []
        pieces = [changes[at : at + CHANGES_PER_SIGN] for at in range(0, len(changes), CHANGES_PER_SIGN)] or [[]]
        return [Control("documents", self._options.id.name, upto.at_ms, piece, generation) for piece in pieces]

    def passages(self, questions: Sequence[str], moments: Sequence[AsOf]) -> list[list[Passage]]:
        """For each question the best passages of its moment, all of one generation."""
        found = self._view.search_many(questions, moments, limit=self._limit)
        return [[passage(hit) for hit in hits] for hits in found]

    def close(self) -> None:
        self._view.close()
