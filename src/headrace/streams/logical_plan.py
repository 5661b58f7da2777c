"""What a query means, apart from any engine: a tree of relations whose leaves are the declared inputs."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from headrace.streams.expression import AggregateCall, Expression, Ref, Slot
from headrace.streams.stream_engine import StaticTable, StreamInput

WindowKind = Literal["TUMBLE", "HOP", "CUMULATE", "SESSION"]
JoinKind = Literal["INNER", "LEFT"]


@dataclass(frozen=True, slots=True)
class Frame:
    """How time is cut. Windows are [start, end) in ms since 1970 UTC."""

    kind: WindowKind
    size_ms: int
    """Of CUMULATE the largest; of SESSION the gap."""
    step_ms: int
    """HOP's slide, CUMULATE's step; else the size."""
    offset_ms: int = 0

    @property
    def overlap(self) -> int:
        """How many windows an event belongs to, at most."""
        return -(-self.size_ms // self.step_ms)


@dataclass(frozen=True, slots=True)
class WindowSlots:
    """The columns that a window table function adds."""

    start: Slot
    end: Slot
    time: Slot | None
    """`window_time`, the end less 1 ms: the event time of what comes out. None: a SELECT left it out."""


@dataclass(frozen=True, slots=True)
class Scan:
    """The rows of a stream; `columns`: each column of its schema."""

    stream: StreamInput
    columns: tuple[tuple[str, Slot], ...]


@dataclass(frozen=True, slots=True)
class Project:
    """SELECT columns FROM source WHERE where."""

    source: "Relation"
    columns: tuple[tuple[Slot, Expression], ...]
    where: Expression | None


@dataclass(frozen=True, slots=True)
class Window:
    """Each row of the source in each of its windows. `partition`: keys of SESSION."""

    source: "Relation"
    frame: Frame
    slots: WindowSlots
    partition: tuple[Ref, ...] = ()


@dataclass(frozen=True, slots=True)
class Aggregate:
    """GROUP BY window and keys. `keys` holds the window's own columns too."""

    source: "Relation"
    keys: tuple[tuple[Slot, Expression], ...]
    aggregates: tuple[tuple[Slot, AggregateCall], ...]
    window: WindowSlots
    """The window's columns in the source."""


@dataclass(slots=True)
class Rank:
    """The first `limit` rows by `order` within the window and `partition`; `slot` is their number from 1."""

    source: "Relation"
    partition: tuple[Expression, ...]
    """Without the window's own columns."""
    order: tuple[tuple[Expression, bool, bool], ...]
    """(expression, descending, NULLs first)"""
    slot: Slot
    window: WindowSlots
    limit: int = 0
    """Set once the SELECT around it has been read, which says it; 0: not said."""


@dataclass(frozen=True, slots=True)
class TableJoin:
    """Each row with at most one row of a static table: the one with equal keys, of the version that was true at its event time."""

    source: "Relation"
    table: StaticTable
    columns: tuple[tuple[str, Slot], ...]
    kind: JoinKind
    on: tuple[tuple[Expression, str], ...]
    """(expression over the source, column of the table)"""


@dataclass(frozen=True, slots=True)
class StreamJoin:
    """Each row with the latest row of another stream that has equal keys and is not later than it."""

    source: "Relation"
    other: "Relation"
    kind: JoinKind
    on: tuple[tuple[Slot, Slot], ...]
    """(column of the source, column of the other)"""


Relation = Scan | Project | Window | Aggregate | Rank | TableJoin | StreamJoin


@dataclass(frozen=True, slots=True)
class LogicalPlan:
    """A checked query."""

    root: Relation
    columns: tuple[tuple[str, Slot], ...]
    """Names and columns of the output."""
    shape: Literal["stateless", "window", "rank", "join"]
    notes: tuple[str, ...] = field(default=())


def sources(relation: Relation) -> tuple[Relation, ...]:
    """The relations directly below."""
    if isinstance(relation, Scan):
        return ()
    if isinstance(relation, StreamJoin):
        return (relation.source, relation.other)
    return (relation.source,)


def relations(relation: Relation) -> Iterator[Relation]:
    """The relation and everything below it."""
    yield relation
    for source in sources(relation):
        yield from relations(source)


def expressions(relation: Relation) -> Iterator[Expression]:
    """The expressions that a relation itself contains."""
    if isinstance(relation, Project):
        yield from (expression for _, expression in relation.columns)
        if relation.where is not None:
            yield relation.where
    elif isinstance(relation, Aggregate):
        yield from (expression for _, expression in relation.keys)
        yield from (aggregate for _, aggregate in relation.aggregates)
    elif isinstance(relation, Rank):
        yield from relation.partition
        yield from (expression for expression, _, _ in relation.order)
    elif isinstance(relation, TableJoin):
        yield from (expression for expression, _ in relation.on)
