"""ingest: a source's bytes → `connector.events`, typed and clean, each record once.

One commit holds the rows, the dead letters, the source's new position and, once, its schema. Idleness and the end of a
bounded source are records too, so that every reader and every replay sees them at the same place.
"""

import dataclasses

import msgspec

from headrace.connectors.registry import open_source
from headrace.connectors.source import Source, SourceBatch, SourceContext
from headrace.events import topics
from headrace.events.control import Control
from headrace.events.dead_records import dead_record
from headrace.events.row_batch import RowBatch
from headrace.events.schema import Column, RowSchema
from headrace.foundation.clock import SYSTEM_CLOCK, Clock
from headrace.foundation.errors import HeadraceError
from headrace.foundation.failpoints import failpoint
from headrace.foundation.ids import derive_id
from headrace.foundation.resource_id import ResourceId
from headrace.log.record import NewRecord
from headrace.log.topic_log import Append, Commit, CommitResult, GroupOffset, StateKey, TopicLog
from headrace.stages.ingest.counting import RowCount
from headrace.stages.ingest.encoding import Letters, encoded, keyed_by_document
from headrace.stages.ingest.options import IngestOptions
from headrace.stages.ingest.spec import topics_of
from headrace.stages.stage import Condition, StageReporter, take_lease
from headrace.stages.transform.row_source import control_record
from headrace.stages.transform.stream_time import latest_of, stamped

MAX_ROWS = 5_000
POLL_SECONDS = 0.05
FEW_ROWS = 100
"""A commit of fewer is followed by the log's pause, in which more come together."""
_SOURCE_STATE = "source/"
"""In front of the keys of what a source remembers itself."""


class IngestState(msgspec.Struct, frozen=True):
    """What ingest keeps of a source."""

    position: bytes
    columns: list[tuple[str, str]]
    """name, type; the schema, fixed when it is first known"""
    rows: int
    """In the topic; of the last commit all, until the log has said which ids it knew."""
    dead: int
    ended: bool
    """The source was read to its end, and the topic says so."""
    ended_for: str = ""
    """The lease holder that saw the end: a later one looks again."""
    idle: bool = False
    """The topic says that the source is idle, and no row has come since."""
    caught_up_for: str = ""
    """The last lease holder that had read everything there was: an endless source is never at its end, but it can wait."""
    latest: int | None = None
    """The largest event time of its rows so far, ms since 1970 UTC; None: there was none yet."""
    closed: int | None = None
    """The same when the topic was last told that the source ended."""
    duplicates: int = 0
    """Records whose id the topic had already; they are not in `rows`."""
    counted_from: int = -1
    """An offset of the topic before the last commit; −1: not known."""
    counted_before: int = 0
    """Rows in front of it."""


EMPTY = IngestState(b"", [], 0, 0, ended=False)


def state_key(connector: ResourceId) -> StateKey:
    return StateKey(f"ingest/{connector.path_name}", "state")


def read_state(log: TopicLog, connector: ResourceId) -> IngestState | None:
    """What ingest last committed for a source; None before its first commit."""
    key = state_key(connector)
    entry = log.state(key.owner, key.key).get(key.key)
    return msgspec.msgpack.decode(entry.value, type=IngestState) if entry else None


def schema_of(state: IngestState) -> RowSchema | None:
    return RowSchema(tuple(Column(name, kind) for name, kind in state.columns)) if state.columns else None


class IngestStage:
    """Owns `ingest/NAMESPACE.NAME`."""

    def __init__(self, options: IngestOptions, log: TopicLog, holder: str, clock: Clock = SYSTEM_CLOCK) -> None:
        source = options.source
        self.name = f"ingest/{source.id.path_name}"
        self._options, self._log, self._clock = options, log, clock
        self._key = state_key(source.id)
        self._topic = topics.events(source.id)
        self._dead = topics.dead(source.id)
        for topic in topics_of(options):
            log.ensure_topic(topic)
        self._read_outside = log.external_table(self._topic) is not None
        self._lease = take_lease(log, self.name, holder)
        self._state = read_state(log, source.id) or EMPTY
        self._reporter = StageReporter(log, source.id, "ingest", clock)
        self._source: Source | None = None
        self._last_row = clock.monotonic()
        self._idle_written = self._state.idle
        self._next_commit = 0.0
        if options.unique_ids:
            self._recount()

    def step(self) -> bool:
        if (left := self._next_commit - self._clock.monotonic()) > 0:
            self._clock.sleep(left)
        try:
            batch = self._open().poll(MAX_ROWS, POLL_SECONDS)
        except HeadraceError as error:
            self._report(Condition("Ingesting", "False", type(error).__name__.removesuffix("Error"), str(error)))
            raise
        if self._nothing_new(batch):
            if batch.end and self._state.ended_for != self._lease.holder:
                self._confirm_end()
            if (batch.waiting or batch.end) and self._state.caught_up_for != self._lease.holder:
                self._keep(msgspec.structs.replace(self._state, caught_up_for=self._lease.holder))
            self._report(self._quiet_condition())
            return self._write_idle_when_due()
        self._commit(batch)
        self._report(self._quiet_condition() if batch.end else Condition("Ingesting", "True", "Reading"))
        return not batch.waiting

    def say_last(self) -> None:
        self._reporter.end(self._lease)

    def close(self) -> None:
        if self._source:
            self._source.close()

    def _open(self) -> Source:
        if self._source is None:
            options = self._options.source
            if options.schema is None:
                options = dataclasses.replace(options, schema=schema_of(self._state))
            source = open_source(options, SourceContext(self._log, self._clock, self._saved))
            source.open(self._state.position or None)
            self._source = source
        return self._source

    def _saved(self) -> dict[str, bytes]:
        entries = self._log.state(self._key.owner, _SOURCE_STATE)
        return {key.removeprefix(_SOURCE_STATE): entry.value for key, entry in entries.items()}

    def _nothing_new(self, batch: SourceBatch) -> bool:
        nothing = (batch.rows is None or batch.rows.num_rows == 0) and not batch.dead and not batch.state
        nothing = nothing and batch.read_up_to is None
        return nothing and (not batch.end or self._state.ended)

    def _commit(self, batch: SourceBatch) -> None:
        rows, unfit = self._encoded(batch.rows)
        now = self._clock.now_ms()
        dead = [dead_record(record_id, letter, now) for record_id, letter in (*batch.dead, *unfit)]
        schema = self._open().schema
        state = IngestState(
            batch.position,
            [(column.name, column.type) for column in schema.columns] if schema else self._state.columns,
            self._state.rows + len(rows),
            self._state.dead + len(dead),
            ended=batch.end,
            ended_for=self._lease.holder if batch.end else "",
            idle=self._state.idle and not rows,
            caught_up_for=self._lease.holder if batch.end or batch.waiting else self._state.caught_up_for,
            latest=latest_of(rows, self._state.latest),
            closed=self._state.closed,
            duplicates=self._state.duplicates + batch.duplicates,
            counted_from=self._state.counted_from,
            counted_before=self._state.counted_before,
        )
        rows = stamped(rows, self._state.latest, self._state.closed) if self._read_outside else rows
        control = [self._end(batch.position, state.latest or 0)] if batch.end else []
        state = msgspec.structs.replace(state, closed=state.latest) if batch.end else state
        appends = [Append(self._topic, [*rows, *control]), Append(self._dead, dead)]
        commit = Commit(
            appends=[append for append in appends if append.records],
            offsets=[GroupOffset(self.name, *batch.read_up_to)] if batch.read_up_to else [],
            state={
                self._key: msgspec.msgpack.encode(state),
                **{StateKey(self._key.owner, _SOURCE_STATE + key): value for key, value in batch.state.items()},
            },
            lease=self._lease,
        )
        pause = self._log.capabilities.pause_seconds if len(rows) < FEW_ROWS else 0.0
        self._next_commit = self._clock.monotonic() + pause
        failpoint("ingest.commit.before")
        result = self._log.commit(commit)
        failpoint("ingest.commit.after")
        self._take_in(state, len(rows), result)
        if rows:
            self._last_row, self._idle_written = self._clock.monotonic(), False

    def _encoded(self, rows: RowBatch | None) -> tuple[list[NewRecord], Letters]:
        if rows is None or not rows.num_rows:
            return [], []
        columns = self._options.documents_by
        return encoded(keyed_by_document(rows, columns) if columns else rows)

    def _take_in(self, state: IngestState, given: int, result: CommitResult) -> None:
        """Counts what the commit wrote. Where some of it was there already, that is committed too, for those who read the state."""
        count = RowCount(state.rows - given, state.duplicates, state.counted_from, state.counted_before)
        count.committed(self._topic, given, result)
        self._state = _counted(state, count)
        if count.rows != state.rows:
            self._keep(self._state)

    def _recount(self) -> None:
        state = self._state
        count = RowCount(state.rows, state.duplicates, state.counted_from, state.counted_before)
        count.recount(self._log, self._topic, self._options.source.id.name, self._clock.now_ms())
        self._state = _counted(state, count)
        if count.rows != state.rows:
            self._keep(self._state)

    def _confirm_end(self) -> None:
        self._keep(msgspec.structs.replace(self._state, ended_for=self._lease.holder))

    def _keep(self, state: IngestState) -> None:
        """Commits what is known of the source, without a record."""
        failpoint("ingest.confirm.before")
        self._log.commit(Commit(state={self._key: msgspec.msgpack.encode(state)}, lease=self._lease))
        failpoint("ingest.confirm.after")
        self._state = state

    def _write_idle_when_due(self) -> bool:
        quiet_ms = (self._clock.monotonic() - self._last_row) * 1000
        if self._state.ended or self._idle_written or quiet_ms < self._options.source.event_time.idle_timeout_ms:
            return False
        state = msgspec.structs.replace(self._state, idle=True)
        failpoint("ingest.idle.before")
        self._log.commit(
            Commit(
                appends=[Append(self._topic, [self._idle()])],
                state={self._key: msgspec.msgpack.encode(state)},
                lease=self._lease,
            )
        )
        failpoint("ingest.idle.after")
        self._state, self._idle_written = state, True
        return True

    def _idle(self) -> NewRecord:
        source, now = self._options.source, self._clock.now_ms()
        control = Control("idle", source.id.name, now)
        return control_record(derive_id(self.name, "idle", now), control, now)

    def _end(self, position: bytes, latest: int) -> NewRecord:
        """Says nothing of the clock, so that every run of one input writes the same."""
        control = Control("end", self._options.source.id.name)
        return control_record(derive_id(self.name, "end", position.decode()), control, latest)

    def _quiet_condition(self) -> Condition:
        if self._state.ended and self._state.ended_for == self._lease.holder:
            return Condition("Ingesting", "False", "Finished", "the source has been read to its end")
        return Condition("Ingesting", "True", "Waiting", "waiting for new records")

    def _report(self, condition: Condition) -> None:
        lag = self._source.lag() if self._source else None
        state = self._state
        progress: dict[str, int | float | str] = {
            "rows": state.rows, "duplicates": state.duplicates, "deadLetters": state.dead,
        }  # fmt: skip
        if lag is not None:
            progress["lag"] = lag
        self._reporter.say(condition, progress=progress)


def _counted(state: IngestState, count: RowCount) -> IngestState:
    return msgspec.structs.replace(
        state, rows=count.rows, duplicates=count.duplicates, counted_from=count.since, counted_before=count.before
    )


def finished(log: TopicLog, connector: ResourceId, holder: str) -> bool:
    """Whether a bounded source is in the log to its end, as this holder's ingest has seen."""
    state = read_state(log, connector)
    return state is not None and state.ended and state.ended_for == holder


def caught_up(log: TopicLog, connector: ResourceId, holder: str) -> bool:
    """Whether this holder's ingest had read everything there was at some moment, whatever the source does later."""
    state = read_state(log, connector)
    return state is not None and state.caught_up_for == holder
