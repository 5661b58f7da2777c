"""The port to a stream engine.

The rule above all others: output rows, their order and late rows are a function of each input's own sequence of rows and
signs, never of how a sequence was cut into batches, nor of how the inputs were interleaved.

So that this holds for a join, a row's arrival (`ingested_at`) counts where the other side is idle or at its end: such a silence
lasts until the arrival of that side's next row. A row that arrived before then does not wait for the other side and does not see what
came after the silence. Whether a silence lasts still, the caller alone can know; it says so by `caught_up`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import pyarrow as pa

from headrace.events.dead_letter import DeadLetter
from headrace.events.row_batch import RowBatch
from headrace.events.schema import RowSchema


@dataclass(frozen=True, slots=True)
class StreamInput:
    """A stream that a query may read."""

    name: str
    """As FROM names it."""
    schema: RowSchema
    topic: str
    """For the origin of windowed rows."""
    event_time: str | None
    """The column that carries event time; None: arrival."""
    out_of_orderness_ms: int = 0


@dataclass(frozen=True, slots=True)
class StaticTable:
    """A table that a query may join: all of it is known at the start."""

    name: str
    table: pa.Table
    valid_from: str | None = None
    """Column with the time since which a version of a key is true; None: one version, always true."""
    key: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class QuerySpec:
    """A query and what it may read."""

    sql: str
    inputs: Sequence[StreamInput]
    tables: Sequence[StaticTable] = ()
    timeline: Literal["arrival", "event"] = "arrival"
    """What `now()` is: the row's ingested_at, or the stream's time (the row's watermark before it … its own event time)."""


@dataclass(frozen=True, slots=True)
class QueryPlan:
    """What an engine will do, settled before a row flows."""

    sql: str
    """As declared."""
    digest: str
    """Of the normalised query and its inputs' schemas; the id of windowed rows contains it."""
    shape: Literal["stateless", "window", "rank", "join"]
    inputs: tuple[str, ...]
    """Names of the streams that are read."""
    output: RowSchema
    notes: tuple[str, ...] = ()
    """What a person should know: panes, state kept, keys that have no meaning on this engine."""


@dataclass(frozen=True, slots=True)
class LateRow:
    """A row whose windows had all closed."""

    input: str
    index: int
    """Its place in the RowBatch that was handed in."""
    by_ms: int
    """Its input's watermark minus the end of its last window, or minus its own time where rows are joined."""


@dataclass(frozen=True, slots=True)
class QueryOutput:
    """What a step gave."""

    rows: RowBatch | None
    """Output rows in order, ids and origins set. A stateless row keeps its source's id, key, event time and ingested_at; a windowed row's id
    is derive_id(digest, key, window_start, window_end, rank), its event time window_end − 1, its ingested_at the largest of its inputs'."""
    late: Sequence[LateRow] = ()
    dead: Sequence[tuple[str, DeadLetter]] = ()


@dataclass(frozen=True, slots=True)
class EngineCapabilities:
    """What an engine can do; read while a query is validated."""

    name: str
    in_process: bool
    shapes: frozenset[str]
    windows: frozenset[str] = frozenset({"TUMBLE", "HOP", "CUMULATE", "SESSION"})
    ignored_settings: frozenset[str] = frozenset()
    """Keys of dataProcessorTemplate that have no meaning here; said once in the status."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How a query runs."""

    parallelism: int = 1
    memory_bytes: int | None = None
    scratch: Path | None = None
    extra: Mapping[str, str] = field(default_factory=dict[str, str])


class StreamQuery(Protocol):
    """A running query. One thread."""

    def process(self, name: str, rows: RowBatch) -> QueryOutput:
        """Takes the next rows of an input, in topic order."""
        ...

    def idle(self, name: str) -> QueryOutput:
        """The input is silent: others do not wait for it, until its next row. Its own rows still wait for its watermark."""
        ...

    def end_of_input(self, name: str) -> QueryOutput:
        """The input is complete for now: its windows close. Rows may still follow; of closed windows they are late."""
        ...

    def caught_up(self, name: str, arrived_ms: int) -> QueryOutput:
        """A promise: every row of the input that arrived at `arrived_ms` or before has been handed in. Where the input is idle or at its end,
        rows of others that arrived by then come out. It adds nothing to what they say.
        """
        ...

    def newest_arrival(self) -> int:
        """The latest arrival of all rows handed in so far, ms since 1970 UTC; 0: there was none."""
        ...

    def watermark(self) -> int | None:
        """Ms since 1970 UTC; None before the first row of every input that is not idle."""
        ...

    def snapshot(self) -> Mapping[str, bytes | None]:
        """Entries of the state that changed since the last snapshot (None: gone). Small: one entry per batch still needed, not one per row."""
        ...


@runtime_checkable
class StreamEngine(Protocol):
    """Plans and starts queries."""

    @property
    def capabilities(self) -> EngineCapabilities: ...

    def plan(self, spec: QuerySpec) -> QueryPlan:
        """Checks the query against the dialect and the schemas. InvalidQueryError: the place in the SQL, why, and the form that works."""
        ...

    def start(
        self, spec: QuerySpec, plan: QueryPlan, state: Mapping[str, bytes], options: EngineOptions
    ) -> StreamQuery:
        """Runs it from a state: the union of all its snapshots so far; empty: from nothing."""
        ...
