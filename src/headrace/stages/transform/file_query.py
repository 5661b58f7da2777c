"""A stream query over sources, without topics: what `headrace sql` runs.

Rows are polled, processed and handed out; a checkpoint is one commit of the query's changed state with every source's
position, in a log of its own. A run that is resumed continues after its last checkpoint: rows handed out since then are
handed out again, with the same ids.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import pyarrow as pa

from headrace.connectors.source import EventTime, Source, SourceBatch
from headrace.events.dead_letter import DeadLetter
from headrace.events.row_batch import RowBatch
from headrace.events.row_codec import batch_to_records
from headrace.foundation.clock import SYSTEM_CLOCK
from headrace.foundation.errors import InvalidDeclarationError
from headrace.log.record import NewRecord
from headrace.log.registry import open_log
from headrace.log.topic_log import Commit, StateKey, TopicLog
from headrace.stages.transform.static_table import LoadedTable
from headrace.streams.registry import open_process_engine
from headrace.streams.stream_engine import (
    EngineOptions,
    QueryOutput,
    QueryPlan,
    QuerySpec,
    StreamInput,
    StreamQuery,
)

OWNER = "query"
POLL_ROWS = 50_000


@dataclass(slots=True)
class QueryReport:
    """What a run came to."""

    read: int = 0
    rows: int = 0
    late: int = 0
    dead: int = 0
    checkpoints: int = 0


@dataclass(frozen=True, slots=True)
class Receivers:
    """Who takes what comes out."""

    on_rows: Callable[[RowBatch], None]
    on_late: Callable[[NewRecord, int], None] = lambda record, by_ms: None  # noqa: ARG005 - ignored unless asked for
    on_dead: Callable[[DeadLetter], None] = lambda letter: None  # noqa: ARG005
    on_progress: Callable[[QueryReport], None] = lambda report: None  # noqa: ARG005


@dataclass(frozen=True, slots=True)
class FileQuery:
    """A query and what it reads."""

    sql: str
    sources: Mapping[str, Source]
    event_times: Mapping[str, EventTime]
    tables: Sequence[LoadedTable] = ()
    timeline: Literal["arrival", "event"] = "event"
    engine: str = "duckdb"
    parallelism: int = 1
    checkpoint: Path | None = None
    """Where progress is kept; None: nowhere."""
    checkpoint_rows: int = POLL_ROWS
    """Rows between two checkpoints, at most."""


class _ReadAhead:
    """Reads the next batch of a source, in a thread of its own, while the query works on this one."""

    def __init__(self, source: Source, rows: int) -> None:
        self._source, self._rows = source, rows
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")
        self._coming: Future[SourceBatch] | None = None

    def first(self) -> SourceBatch:
        """Waits for the first batch, from which the schema may be told."""
        return self._thread.submit(self._source.poll, self._rows, 1.0).result()

    def go_on(self, batch: SourceBatch) -> None:
        """Reads on behind `batch`."""
        if not batch.end:
            self._coming = self._thread.submit(self._source.poll, self._rows, 0.2)

    def next(self) -> SourceBatch:
        assert self._coming is not None
        batch = self._coming.result()
        self.go_on(batch)
        return batch

    def close(self) -> None:
        """Waits for the thread; what it read is read again by the next run."""
        self._thread.shutdown(wait=True, cancel_futures=True)


@dataclass(slots=True)
class _Run:
    """A run under way."""

    query: StreamQuery
    plan: QueryPlan
    log: TopicLog | None
    positions: dict[str, bytes]
    arrived_ms: int
    """Every row of a run arrives at its start, so that what is joined does not depend on which source was read first."""
    ended: set[str] = field(default_factory=set[str])
    report: QueryReport = field(default_factory=QueryReport)
    since_checkpoint: int = 0


def run_query(wanted: FileQuery, receivers: Receivers) -> QueryReport:
    """Runs a query until every bounded source is read; an unbounded one is followed until interrupted.

    Errors: InvalidQueryError; InvalidDeclarationError where a checkpoint is another query's; what the sources raise.
    """
    log = open_log(wanted.checkpoint) if wanted.checkpoint else None
    readers: dict[str, _ReadAhead] = {}
    try:
        saved = {key: entry.value for key, entry in log.state(OWNER).items()} if log else {}
        positions = msgspec.msgpack.decode(saved.get("positions", b"\x80"), type=dict[str, bytes])
        for name, source in wanted.sources.items():
            source.open(positions.get(name))
            readers[name] = _ReadAhead(source, wanted.checkpoint_rows)
        first = {name: reader.first() for name, reader in readers.items()}
        for name, batch in first.items():
            readers[name].go_on(batch)
        run = _start(wanted, log, saved, positions)
        for _, letter in (dead for table in wanted.tables for dead in table.dead):
            _dead(run, letter, receivers)
        for name, batch in first.items():
            _take(wanted, run, name, batch, receivers)
        while len(run.ended) < len(wanted.sources):
            for name, reader in readers.items():
                if name not in run.ended:
                    _take(wanted, run, name, reader.next(), receivers)
        _checkpoint(run)
        return run.report
    finally:
        for reader in readers.values():
            reader.close()
        for source in wanted.sources.values():
            source.close()
        if log:
            log.close()


def _start(wanted: FileQuery, log: TopicLog | None, saved: Mapping[str, bytes], positions: dict[str, bytes]) -> _Run:
    inputs = [_input(name, source, wanted.event_times[name]) for name, source in wanted.sources.items()]
    spec = QuerySpec(wanted.sql, inputs, [one.table for one in wanted.tables], wanted.timeline)
    engine = open_process_engine(wanted.engine)
    plan = engine.plan(spec)
    unread = [name for name in wanted.sources if name not in plan.inputs]
    if unread:
        raise InvalidDeclarationError(
            f"the query does not read {', '.join(unread)}", next_step="remove the source, or name it in FROM"
        )
    digest = saved.get("digest", plan.digest.encode()).decode()
    if digest != plan.digest:
        raise InvalidDeclarationError(
            f"the checkpoint in {wanted.checkpoint} belongs to another query",
            next_step="pass a different folder with --checkpoint",
        )
    state = {key.removeprefix("state/"): value for key, value in saved.items() if key.startswith("state/")}
    query = engine.start(spec, plan, state, EngineOptions(wanted.parallelism))
    return _Run(query, plan, log, positions, max(SYSTEM_CLOCK.now_ms(), query.newest_arrival() + 1))


def _input(name: str, source: Source, event_time: EventTime) -> StreamInput:
    if source.schema is None:
        raise InvalidDeclarationError(
            f"{name} has no record from which to infer its columns", next_step="declare them with --schema"
        )
    return StreamInput(name, source.schema, name, event_time.column, event_time.out_of_orderness_ms)


def _take(wanted: FileQuery, run: _Run, name: str, batch: SourceBatch, receivers: Receivers) -> None:
    """One batch of one source through the query, and a checkpoint when due."""
    for _, letter in batch.dead:
        _dead(run, letter, receivers)
    if batch.rows is not None and batch.rows.num_rows:
        if run.since_checkpoint and run.since_checkpoint + batch.rows.num_rows > wanted.checkpoint_rows:
            _checkpoint(run)
        rows = _arrived(batch.rows, run.arrived_ms)
        _hand_out(run, run.query.process(name, rows), rows, receivers)
        run.report.read += batch.rows.num_rows
        run.since_checkpoint += batch.rows.num_rows
    if batch.end:
        run.ended.add(name)
        _hand_out(run, run.query.end_of_input(name), None, receivers)
        _hand_out(run, run.query.caught_up(name, run.arrived_ms), None, receivers)
    run.positions[name] = batch.position
    if run.since_checkpoint >= wanted.checkpoint_rows:
        _checkpoint(run)
    receivers.on_progress(run.report)


def _arrived(rows: RowBatch, moment: int) -> RowBatch:
    return replace(rows, ingested_at=pa.array(np.full(rows.num_rows, moment, np.int64)))


def _hand_out(run: _Run, output: QueryOutput, taken: RowBatch | None, receivers: Receivers) -> None:
    if output.rows is not None and output.rows.num_rows:
        run.report.rows += output.rows.num_rows
        receivers.on_rows(output.rows)
    if taken is not None and output.late:
        records = batch_to_records(taken)
        run.report.late += len(output.late)
        for late in output.late:
            receivers.on_late(records[late.index], late.by_ms)
    for _, letter in output.dead:
        _dead(run, letter, receivers)


def _dead(run: _Run, letter: DeadLetter, receivers: Receivers) -> None:
    run.report.dead += 1
    receivers.on_dead(letter)


def _checkpoint(run: _Run) -> None:
    """Makes positions and changed state durable at once; what was handed out must have been flushed by its receiver."""
    run.since_checkpoint = 0
    if run.log is None:
        return
    state: dict[StateKey, bytes | None] = {
        StateKey(OWNER, f"state/{key}"): value for key, value in run.query.snapshot().items()
    }
    state[StateKey(OWNER, "positions")] = msgspec.msgpack.encode(run.positions)
    state[StateKey(OWNER, "digest")] = run.plan.digest.encode()
    run.log.commit(Commit(state=state))
    run.report.checkpoints += 1
