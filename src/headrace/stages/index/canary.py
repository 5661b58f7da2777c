"""The canary: a document of our own, put behind the connector, whose way to being found is measured when nothing else changes.

It is written, then deleted, then written again; each time the store is asked for it as any reader would be.
"""

from collections.abc import Sequence

import msgspec

from headrace.events import topics
from headrace.foundation.clock import Clock
from headrace.foundation.ids import derive_id
from headrace.knowledge.analysis import terms
from headrace.knowledge.query import AsOf, StoreQuery
from headrace.knowledge.revision import CANARY, DocumentChange
from headrace.knowledge.store import KnowledgeStore
from headrace.log.record import NewRecord
from headrace.log.topic_log import Append, Commit, Lease, TopicLog
from headrace.stages.index.options import KnowledgeOptions

KIND = "canary/1"
LEAST_PAUSE_SECONDS = 5.0
WORDS = ("amber", "birch", "cobalt", "delta", "ember", "flint", "garnet", "hazel")
"""Its text combines these with a number, so that every write is embedded again."""


class Canary:
    """Of one knowledge base."""

    def __init__(
        self, options: KnowledgeOptions, store: KnowledgeStore, log: TopicLog, lease: Lease, clock: Clock
    ) -> None:
        self._store, self._log, self._lease, self._clock = store, log, lease, clock
        self._topic = topics.canaries(options.id)
        self._pause = max(LEAST_PAUSE_SECONDS, options.target_ms / 1000)
        self._sent_at = clock.monotonic()
        self.failure = ""
        """What was wrong at the last look; '' where it was found, or gone, as it should."""

    def send_when_due(self) -> bool:
        """Writes the next one where nothing was measured for a while."""
        if self._clock.monotonic() - self._sent_at < self._pause:
            return False
        self._sent_at = self._clock.monotonic()
        number = self._log.topic(self._topic).end_offset
        now = self._clock.now_ms()
        change = DocumentChange(
            document=CANARY, version=str(number), order=f"{number:020d}", deleted=number % 2 == 1,
            text="" if number % 2 else text_of(number), seen_ms=now, stream_ms=now, media="plain",
        )  # fmt: skip
        record = NewRecord(derive_id(self._topic, number), KIND, msgspec.json.encode(change), now, ingested_at=now)
        self._log.commit(Commit([Append(self._topic, [record])], lease=self._lease))
        return True

    def changed(self) -> None:
        """A real change was measured: no canary is needed for a while."""
        self._sent_at = self._clock.monotonic()

    def check(self, changes: Sequence[DocumentChange], generation: str) -> None:
        """Looks for the newest one as a reader does."""
        if not changes:
            return
        newest, now = changes[-1], self._clock.now_ms()
        query = StoreQuery(generation, AsOf(now), "keyword", 1, terms=terms(newest.text) or WORDS, canary=True)
        found = [hit for hit in self._store.search(query) if hit.version == newest.version]
        if bool(found) == newest.deleted:
            what = "was deleted but is still found" if newest.deleted else "was written but is not found"
            self.failure = f"the canary {newest.version} {what}"
        else:
            self.failure = ""


def text_of(number: int) -> str:
    """The canary's text."""
    first, second = WORDS[number % len(WORDS)], WORDS[number // len(WORDS) % len(WORDS)]
    return f"canary {first} {second} {number}"
