"""index: rows of documents → the knowledge store, in the order of their topic.

The store owns the commit: revisions, tombstones, chunks and the consumed offsets are one transaction of its own. Vectors are
kept before it, so that what was embedded once is never embedded again; dead letters are written before it, under derived ids
that their topic keeps apart. What is written to the log behind it (offset, figures) is a projection.
"""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from headrace.events import codec, topics
from headrace.events.addressing import opened
from headrace.events.dead_letter import DeadLetter
from headrace.events.dead_records import dead_record
from headrace.events.row_codec import row_values
from headrace.foundation.clock import SYSTEM_CLOCK, Clock
from headrace.foundation.errors import FinalError, UnavailableError
from headrace.foundation.failpoints import failpoint
from headrace.foundation.ids import derive_id
from headrace.knowledge.changes import UnusableDocumentError, to_change
from headrace.knowledge.registry import open_store
from headrace.knowledge.revision import CANARY, DocumentChange
from headrace.knowledge.store import KnowledgeStore, StoreBatch, StoreOptions
from headrace.log.record import NewRecord, Record
from headrace.log.topic_log import Append, Commit, GroupOffset, StateKey, TopicLog
from headrace.models.embedder import Embedder
from headrace.stages.embed.embedding import Embedders
from headrace.stages.index.canary import Canary
from headrace.stages.index.freshness import Freshness
from headrace.stages.index.generations import Generations
from headrace.stages.index.options import KnowledgeOptions
from headrace.stages.index.spec import topics_of
from headrace.stages.stage import Condition, StageReporter, take_lease

MAX_RECORDS = 256
MAX_BYTES = 8 << 20
PURGE_EVERY_SECONDS = 3_600.0
BATCHES_PER_BUILDING = 16
"""Batches of live changes after which a generation that is being built has its turn, however many more there are."""


class IndexState(msgspec.Struct, frozen=True):
    """What the index reports of itself in the log, for its readers."""

    building: str = ""
    """A generation that is not complete yet."""
    applied: int = 0
    ignored: int = 0
    dead: int = 0
    freshness: bytes = b""


def group(options: KnowledgeOptions) -> str:
    return f"index/{options.id.path_name}"


def read_index_state(log: TopicLog, options: KnowledgeOptions) -> IndexState | None:
    """What the index last said; None before it first did."""
    entry = log.state(group(options)).get("state")
    return msgspec.msgpack.decode(entry.value, type=IndexState) if entry else None


def store_options(options: KnowledgeOptions, state: Path) -> StoreOptions:
    return StoreOptions(options.id, state, options.url)


class IndexStage:
    """Owns `index/NAMESPACE.KNOWLEDGEBASE` and the store's writer."""

    def __init__(
        self,
        options: KnowledgeOptions,
        log: TopicLog,
        holder: str,
        state: Path,
        clock: Clock = SYSTEM_CLOCK,
        *,
        embedder: Embedder | None = None,
    ) -> None:
        """`embedder`: handed in by tests; else the declared model's processes."""
        self.name = group(options)
        self._options, self._log, self._clock = options, log, clock
        self._events = topics.events(options.source)
        self._canaries = topics.canaries(options.id)
        self._dead = topics.stage_dead(options.id, "index")
        log.ensure_exists(self._events)
        for topic in topics_of(options):
            log.ensure_topic(topic)
        self._lease = take_lease(log, self.name, holder)
        self._reporter = StageReporter(log, options.id, "index", clock)
        self._store: KnowledgeStore = open_store(options.store, store_options(options, state))
        self._epoch = self._store.acquire(holder)
        self._embedders = Embedders(options.embedding, state, embedder)
        self._generations = Generations(options, self._store, self._epoch, self._embedders, log, clock)
        self._said = read_index_state(log, options) or IndexState()
        self._stream_ms = int(self._store.state("stream_ms") or 0)
        self._freshness = Freshness(self._said.freshness)
        self._canary = Canary(options, self._store, log, self._lease, clock)
        self._purge_due = clock.monotonic()
        self._away_since: float | None = None
        self._told = False
        self._batches = 0

    def step(self) -> bool:
        try:
            worked = self._work()
        except UnavailableError as error:
            self._report(Condition("Indexing", "False", self._away_reason(), str(error)))
            raise
        self._away_since = None
        return worked

    def say_last(self) -> None:
        self._reporter.end(self._lease)

    def close(self) -> None:
        self._embedders.close()
        self._store.close()

    def _work(self) -> bool:
        self._generations.ensure()
        self._say_what_was_done()
        if self._generations.building and self._batches >= BATCHES_PER_BUILDING and self._advance():
            return True
        for topic in (self._events, self._canaries):
            offset = self._store.offset(topic)
            if records := self._log.read(topic, offset, max_records=MAX_RECORDS, max_bytes=MAX_BYTES):
                self._take(topic, offset, opened(records, self.name))
                self._batches += 1
                return True
        if self._advance():
            return True
        self._purge_when_due()
        self._canary.send_when_due()
        self._report(Condition("Indexing", "True", "Waiting", "waiting for changes"))
        return False

    def _advance(self) -> bool:
        """One step of a generation. False: there was nothing to do."""
        self._batches = 0
        worked = self._generations.advance()
        if worked:
            self._say()
        return worked

    def _say_what_was_done(self) -> None:
        """Once: a kill between the store's commit and the log's leaves the log behind; a store that was lost or put back is behind the
        log, and reads again from its own place.
        """
        if self._told:
            return
        done = {topic: self._store.offset(topic) for topic in (self._events, self._canaries)}
        self._say({topic: offset for topic, offset in done.items() if offset != self._log.offset(self.name, topic)})
        self._told = True

    def _take(self, topic: str, offset: int, records: Sequence[Record]) -> None:
        changes, dead, stream_ms = self._changes(topic, records)
        if dead:
            failpoint("index.dead.before")
            self._log.commit(Commit([Append(self._dead, dead)], lease=self._lease))
            failpoint("index.dead.after")
        revisions = self._generations.revisions(changes)
        next_offset = records[-1].offset + 1
        failpoint("index.apply.before")
        kept = {"stream_ms": str(stream_ms).encode()}
        report = self._store.apply(self._epoch, StoreBatch(revisions, {topic: (offset, next_offset)}, state=kept))
        failpoint("index.apply.after")
        self._stream_ms = stream_ms
        self._measure(changes)
        if topic == self._canaries:
            active = self._generations.active
            self._canary.check(changes, active.id if active else "")
        else:
            self._canary.changed()
            self._said = msgspec.structs.replace(
                self._said,
                applied=self._said.applied + report.applied,
                ignored=self._said.ignored + report.ignored,
                dead=self._said.dead + len(dead),
            )
        self._say({topic: next_offset})
        self._report(Condition("Indexing", "True", "Running"))

    def _measure(self, changes: Sequence[DocumentChange]) -> None:
        """What was there before the first generation was loaded, not kept fresh: it is not counted."""
        active, searchable = self._generations.active, self._clock.now_ms()
        for change in changes:
            if active is not None and change.seen_ms >= active.created_ms:
                self._freshness.add(max(0, searchable - change.seen_ms), deleted=change.deleted)

    def _changes(self, topic: str, records: Sequence[Record]) -> tuple[list[DocumentChange], list[NewRecord], int]:
        """Changes, dead letters, and the stream's time after them."""
        changes: list[DocumentChange] = []
        dead: list[NewRecord] = []
        stream_ms = self._stream_ms
        for record in records:
            if not codec.is_data(record):
                continue
            if topic == self._canaries:
                changes.append(msgspec.json.decode(record.value, type=DocumentChange))
                continue
            stream_ms = max(stream_ms, record.event_time)
            try:
                change = to_change(
                    row_values(record), self._options.columns,
                    seen_ms=record.ingested_at, stream_ms=stream_ms, offset=record.offset,
                )  # fmt: skip
                if change.document.startswith(CANARY):
                    raise UnusableDocumentError("reserved_id", f"a document's id must not begin with {CANARY!r}")
                changes.append(change)
            except FinalError as error:
                dead.append(self._letter(record, error))
        return changes, dead, stream_ms

    def _letter(self, record: Record, error: FinalError) -> NewRecord:
        letter = DeadLetter(
            "index", getattr(error, "code", "unusable_document"), str(error), record.id,
            record.value.decode(errors="backslashreplace")[: 64 << 10],
            source_topic=self._events, source_offset=record.offset, reader=self.name,
        )  # fmt: skip
        return dead_record(derive_id(self._events, record.offset, self.name), letter, record.event_time)

    def _purge_when_due(self) -> None:
        now = self._clock.monotonic()
        if now < self._purge_due:
            return
        self._purge_due = now + PURGE_EVERY_SECONDS
        self._store.purge(self._epoch, self._clock.now_ms() - self._options.history_ms)

    def _say(self, offsets: dict[str, int] | None = None) -> None:
        """Reports the index's position to the log. Readers of the topic and retention use it."""
        self._said = msgspec.structs.replace(
            self._said, building=self._generations.building, freshness=self._freshness.state()
        )
        groups = [GroupOffset(self.name, topic, offset) for topic, offset in (offsets or {}).items()]
        failpoint("index.say.before")
        self._log.commit(
            Commit(
                offsets=groups,
                state={StateKey(self.name, "state"): msgspec.msgpack.encode(self._said)},
                lease=self._lease,
            )
        )
        failpoint("index.say.after")

    def _away_reason(self) -> str:
        now = self._clock.monotonic()
        self._away_since = now if self._away_since is None else self._away_since
        away_ms = (now - self._away_since) * 1000
        return "UnavailableTimeout" if away_ms >= self._options.unavailable_timeout_ms else "Unavailable"

    def _report(self, condition: Condition) -> None:
        fresh = self._freshness.condition(self._options.target_ms, self._canary.failure)
        generation = self._generations.condition()
        progress: dict[str, int | float | str] = {
            "changes": self._said.applied, "older": self._said.ignored, "deadLetters": self._said.dead,
            **self._generations.progress(), **self._freshness.progress(),
        }  # fmt: skip
        self._reporter.say(condition, fresh, generation, progress=progress)
