"""Reads rows from an external topic: all its partitions, committed records only; the position is an offset per partition.

type: kafka
kafka:
  bootstrapServers: broker-1:9092,broker-2:9092
  topic: payments
  format: avro
  schemaRegistry: {url: https://registry:8081, user: reader, password: ${REGISTRY_PASSWORD}}
  properties: {security.protocol: SASL_SSL, sasl.mechanism: PLAIN, sasl.username: reader, sasl.password: ${KAFKA_PASSWORD}}
"""

import msgspec

from headrace.connectors.kafka.fetching import Fetcher
from headrace.connectors.kafka.formats import reading
from headrace.connectors.kafka.lanes import NO_TIME, take
from headrace.connectors.kafka.options import Options
from headrace.connectors.kafka.reading import MessageReader
from headrace.connectors.kafka.registry import registry_for
from headrace.connectors.source import SourceBatch, SourceContext, SourceOptions
from headrace.events.schema import RowSchema
from headrace.foundation.clock import SYSTEM_CLOCK
from headrace.foundation.errors import NotFoundError

_LEAST_WAIT_SECONDS = 0.005


class _Position(msgspec.Struct):
    """By partition: the next offset, the largest event time before it, and for a bounded source its end."""

    offsets: dict[str, int] = {}
    ends: dict[str, int] = {}
    highs: dict[str, int] = {}


def open_source(options: SourceOptions, context: SourceContext) -> "KafkaSource":
    """Opens an external topic as a source."""
    return KafkaSource(options, context)


class KafkaSource:
    """See the port. Ids are `NAME:TOPIC/PARTITION@OFFSET` if none are declared; without an event-time column a row's time is its message's.

    Partitions are merged by event time (`lanes`); partitions added later are read from their start.
    """

    def __init__(self, options: SourceOptions, context: SourceContext) -> None:
        self._given = Options.model_validate(dict(options.options))
        self._source, self._where = options, f"StreamConnector/{options.id.name}"
        registry = self._registry = registry_for(self._given.format, self._given.schema_registry, self._where)
        self._reader = MessageReader(options, self._given, reading(self._given.format, registry), context.clock)
        self._fetcher: Fetcher | None = None
        self._to_commit = False
        """The start was chosen by a time that will not come again."""

    @property
    def bounded(self) -> bool:
        return self._given.bounded

    @property
    def schema(self) -> RowSchema | None:
        return self._reader.schema

    def open(self, position: bytes | None) -> None:
        self._close_fetcher()
        fetcher = Fetcher(self._source, self._given)
        try:
            self._begin(fetcher, position)
        except BaseException:
            fetcher.close()
            raise
        self._fetcher = fetcher
        self._to_commit = position is None and self._given.start != "earliest"

    def _begin(self, fetcher: Fetcher, position: bytes | None) -> None:
        saved = _Position() if position is None else msgspec.json.decode(position, type=_Position)
        partitions = fetcher.places.partitions()
        if gone := sorted({int(one) for one in saved.offsets} - set(partitions)):
            raise NotFoundError(
                f"{self._given.topic} had {len(saved.offsets)} partitions and now has {len(partitions)}: {gone} are gone",
                where=self._where, next_step="give the connector a new name to read the recreated topic from its start",
            )  # fmt: skip
        offsets = {int(one): fetcher.held(int(one), offset) for one, offset in saved.offsets.items()}
        ends = _by_partition(saved.ends) if self._given.bounded else {}
        if not ends:
            fresh = [one for one in partitions if one not in offsets]
            offsets |= fetcher.places.starts(fresh, self._given.start, first=position is None)
            ends = {one: fetcher.places.bounds(one)[1] for one in offsets} if self._given.bounded else {}
        fetcher.begin(offsets, ends, _by_partition(saved.highs))

    def poll(self, max_rows: int, timeout_seconds: float) -> SourceBatch:
        fetcher = self._fetcher
        assert fetcher is not None, "the source is not open"
        deadline = SYSTEM_CLOCK.monotonic() + max(timeout_seconds, _LEAST_WAIT_SECONDS)
        while True:
            fetcher.fetch(deadline)
            self._type(fetcher)
            taken = take(list(fetcher.lanes.values()), max_rows, fetcher.behind())
            if taken.count or fetcher.dead or fetcher.at_rest() or SYSTEM_CLOCK.monotonic() >= deadline:
                break
        fetcher.pause_and_resume()
        dead, fetcher.dead = [*fetcher.dead, *taken.letters], []
        state = {"started": b"1"} if self._to_commit else {}
        self._to_commit = False
        rest = fetcher.at_rest()
        waiting = rest and not taken.count and not dead and not self.bounded
        return SourceBatch(taken.rows, dead, self._position(fetcher), rest and self.bounded, waiting, state=state)

    def lag(self) -> int | None:
        """Messages and transaction markers not yet read."""
        return None if self._fetcher is None else self._fetcher.lag()

    def close(self) -> None:
        self._close_fetcher()
        if self._registry is not None:
            self._registry.close()

    def _close_fetcher(self) -> None:
        if self._fetcher is not None:
            self._fetcher.close()
            self._fetcher = None

    def _type(self, fetcher: Fetcher) -> None:
        """Types what was fetched. UnavailableError: the schema registry is unavailable; untyped messages wait."""
        lanes = [lane for lane in fetcher.lanes.values() if lane.raw]
        if lanes:
            self._reader.settle([message for lane in lanes for message in lane.raw])
        for lane in lanes:
            lane.add(self._reader.read(list(lane.raw), lane.last_key))
            lane.raw.clear()

    def _position(self, fetcher: Fetcher) -> bytes:
        lanes = list(fetcher.lanes.values())
        return msgspec.json.encode(
            _Position(
                {str(lane.partition): lane.next for lane in lanes},
                {str(lane.partition): lane.end for lane in lanes if lane.end is not None},
                {str(lane.partition): lane.high for lane in lanes if lane.high != NO_TIME and len(lanes) > 1},
            )
        )


def _by_partition(saved: dict[str, int]) -> dict[int, int]:
    return {int(one): value for one, value in saved.items()}
