"""The port to a source."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from headrace.events.dead_letter import DeadLetter
from headrace.events.row_batch import RowBatch
from headrace.events.schema import RowSchema
from headrace.foundation.clock import SYSTEM_CLOCK, Clock
from headrace.foundation.resource_id import ResourceId
from headrace.log.topic_log import TopicLog


@dataclass(frozen=True, slots=True)
class EventTime:
    """`spec.eventTime` of a source."""

    column: str | None = None
    """None: a record's event time is its arrival time."""
    out_of_orderness_ms: int = 0
    idle_timeout_ms: int = 30_000
    max_ahead_ms: int = 300_000
    historical: bool = False
    """`timeline: event`: `maxAhead` is not checked."""


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """What every source is opened with; `options` is the type's own YAML block, already validated by its `Options` model."""

    id: ResourceId
    type: str
    options: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)
    schema: RowSchema | None = None
    """None: inferred from the first records; the stage then keeps it."""
    key: tuple[str, ...] = ()
    id_columns: tuple[str, ...] = ()
    """Empty: the position in the source."""
    event_time: EventTime = EventTime()
    base_dir: Path = Path()
    """Base for relative paths: the folder of the YAML file."""


@dataclass(frozen=True, slots=True)
class SourceBatch:
    """The result of a poll."""

    rows: RowBatch | None
    """Clean rows. None: no rows."""
    dead: Sequence[tuple[str, DeadLetter]]
    """(record id, letter) for unreadable records, in order; ids are derived, so that a replay gives the same ones."""
    position: bytes
    """Where to continue after this batch; opaque JSON, small."""
    end: bool = False
    """Whether this batch completes a bounded source."""
    waiting: bool = False
    """Whether nothing new is available for now."""
    read_up_to: tuple[str, int] | None = None
    """For a source that reads a topic of the log: its name and the next offset, which the stage commits as its group's."""
    duplicates: int = 0
    """Records that the source skipped because another one with the same id counts."""
    state: Mapping[str, bytes | None] = field(default_factory=dict[str, "bytes | None"])
    """Entries to remember besides the position that changed with this batch; None forgets one."""


def nothing_saved() -> Mapping[str, bytes]:
    """The state of a source without history."""
    return {}


class Source(Protocol):
    r"""Opened at a position, polled by one thread; after a restart it is opened at the last committed position and gives the same records again.

    A record's id is `NAME:` and its declared id columns, else `NAME:FILE@POSITION` with the file's relative name and a whole
    number. Its key is its key columns. Several columns are joined by `/`, with `\` before each `/` and `\` in a column's text
    (`foundation.ids.joined`), so that different values never give the same text; a single column's text stays as it is.

    A row whose key or id column is NULL, or whose event time is missing, does not parse, or is more than `max_ahead_ms` ahead
    of the clock (unless historical), is a dead letter. `poll` never raises because of a record's content: however it is
    broken, it is a dead letter, and the next poll continues after it.
    """

    @property
    def bounded(self) -> bool: ...

    @property
    def schema(self) -> RowSchema | None:
        """Declared or inferred; None until something has been read."""
        ...

    def open(self, position: bytes | None) -> None:
        """Starts after `position`; None: from the beginning. UnavailableError, NotFoundError."""
        ...

    def poll(self, max_rows: int, timeout_seconds: float) -> SourceBatch:
        """Up to `max_rows` rows; waits up to the timeout if there are none. Errors: UnavailableError (poll again), FinalError."""
        ...

    def lag(self) -> int | None:
        """Rows (or bytes, for files) known to be unread; None: unknown."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class SourceContext:
    """What a source may use."""

    log: TopicLog | None = None
    """For pushed sources, which read their inbox topic."""
    clock: Clock = SYSTEM_CLOCK
    saved: Callable[[], Mapping[str, bytes]] = nothing_saved
    """The last committed entries of `SourceBatch.state`; requested when the source is opened at a position."""


OpenSource = Callable[[SourceOptions, SourceContext], Source]
"""The signature of the entry point group `headrace.sources`."""
