"""Topics of another application: what a source reads of them and what a sink writes to them.

A subclass of `Topic` says how another application's client sends to a topic and reads it; `row` and `records` make what goes in, `drain` and
`until` say what a source made of it.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from headrace.connectors.registry import open_sink, open_source
from headrace.connectors.sink import Sink, SinkOptions
from headrace.connectors.source import EventTime, Source, SourceBatch, SourceContext, SourceOptions
from headrace.events.dead_letter import DeadLetter
from headrace.events.schema import Column, RowSchema
from headrace.log.record import Record
from headrace.testing.clock import VirtualClock
from headrace.testing.resource_ids import connector_id

SCHEMA = RowSchema((Column("at", "TIMESTAMP_LTZ(3)"), Column("n", "BIGINT"), Column("text", "STRING")))
BY_COLUMN = EventTime("at", out_of_orderness_ms=5_000)
FIRST_MS = 1_700_000_000_000


@dataclass(frozen=True)
class Seen:
    """A message as another reader sees it."""

    value: bytes
    key: bytes | None
    headers: Mapping[str, bytes | None]
    timestamp: int


@dataclass
class Topic(ABC):
    """A topic of another application, and the sources and sinks that were opened on it."""

    address: str
    name: str
    opened: list[Source | Sink] = field(default_factory=list["Source | Sink"])

    @abstractmethod
    def send(
        self, values: Sequence[bytes | None], *, partition: int = 0, first_ms: int = FIRST_MS, key: bytes | None = b"k",
        headers: Sequence[tuple[str, bytes | None]] = (),
    ) -> None:  # fmt: skip
        """Each a millisecond after the one before."""

    @abstractmethod
    def seen(self, partition: int = 0) -> list[Seen]:
        """Every committed message, once no transaction is open any more."""

    @abstractmethod
    def grow(self, partitions: int) -> None:
        """Has so many from now on."""

    @abstractmethod
    def drop_before(self, offset: int, partition: int = 0) -> None:
        """As retention does."""

    @abstractmethod
    def delete(self) -> None:
        """Is gone from now on."""

    def values(self) -> list[bytes]:
        """Of the first partition's messages."""
        return [one.value for one in self.seen()]

    def rows(self) -> list[Any]:
        """The first partition's values, which are JSON."""
        return [json.loads(value) for value in self.values()]

    def options(
        self, *, schema: RowSchema | None = SCHEMA, event_time: EventTime = BY_COLUMN, key: tuple[str, ...] = (), **block: Any
    ) -> SourceOptions:  # fmt: skip
        given = {"bootstrapServers": self.address, "topic": self.name, **block}
        return SourceOptions(connector_id("things"), "kafka", given, schema=schema, key=key, event_time=event_time)

    def source(self, position: bytes | None = None, *, clock: VirtualClock | None = None, **given: Any) -> Source:
        """Open at a position."""
        source = open_source(self.options(**given), SourceContext(clock=clock or VirtualClock()))
        self.opened.append(source)
        source.open(position)
        return source

    def make_sink(self, **block: Any) -> Sink:
        """Not recovered yet."""
        given = {"bootstrapServers": self.address, "topic": self.name, **block}
        sink = open_sink(SinkOptions(connector_id(self.name), "kafka", given))
        self.opened.append(sink)
        return sink

    def sink(self, prepared: bytes | None = None, **block: Any) -> Sink:
        """Recovered."""
        sink = self.make_sink(**block)
        sink.recover(prepared)
        return sink

    def close(self) -> None:
        """Everything that was opened on it."""
        for one in self.opened:
            one.close()


NewTopic = Callable[..., Topic]
"""Makes one: how many partitions, and its settings with `_` for `.`."""


@dataclass
class Read:
    """What some polls gave."""

    batches: list[SourceBatch]

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [row for one in self.batches if one.rows is not None for row in one.rows.table.to_pylist()]

    @property
    def letters(self) -> list[DeadLetter]:
        return [letter for one in self.batches for _, letter in one.dead]

    @property
    def codes(self) -> list[str]:
        return [letter.code for letter in self.letters]

    @property
    def position(self) -> bytes:
        return self.batches[-1].position

    def column(self, name: str) -> list[Any]:
        return [row[name] for row in self.rows]


def drain(source: Source, *, size: int = 1_000, polls: int = 600) -> Read:
    """Everything that is there now."""
    batches: list[SourceBatch] = []
    for _ in range(polls):
        batches.append(source.poll(size, 0.1))
        if batches[-1].end or (batches[-1].waiting and source.lag() == 0):
            return Read(batches)
    raise AssertionError(f"the source did not come to rest: {batches[-1]}")


def until(source: Source, rows: int, *, size: int = 1_000, polls: int = 300) -> Read:
    """At least so many rows, or what came in so many polls of a tenth of a second."""
    read = Read([])
    for _ in range(polls):
        read.batches.append(source.poll(size, 0.1))
        if len(read.rows) >= rows:
            break
    return read


def row(n: int, second: int | None = None, /, **more: Any) -> bytes:
    """A row of SCHEMA whose time is a second of one day."""
    second = n if second is None else second
    at = f"2023-01-01T{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}Z"
    return json.dumps({"at": at, "n": n, "text": f"é {n}", **more}).encode()


def records(values: Sequence[object], first: int = 0, ingested_at: int = 5) -> list[Record]:
    """What the log hands to a sink."""
    return [
        Record(
            offset=first + place, id=f"row-{first + place}", kind="row/1", value=json.dumps(value).encode(),
            event_time=FIRST_MS + place, key="", origin="", ingested_at=ingested_at,
        )
        for place, value in enumerate(values)
    ]  # fmt: skip
