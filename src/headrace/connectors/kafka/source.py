"""Rows from a topic of other people: all its partitions, committed records only; the position is an offset per partition."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from confluent_kafka import Consumer, KafkaException, TopicPartition

from headrace.connectors.kafka.client import END_OF_PARTITION, error_of, settings, translate
from headrace.connectors.kafka.formats import UnreadableMessageError, decoder
from headrace.connectors.kafka.options import Options
from headrace.connectors.kafka.registry import SchemaRegistry
from headrace.connectors.records.dead_letters import dead_letter
from headrace.connectors.records.debezium import DebeziumLines, flat_sample
from headrace.connectors.records.inference import SAMPLE_RECORDS, UNKNOWN, infer_json
from headrace.connectors.records.json_lines import JsonLines
from headrace.connectors.records.kernels import int64_array, int64_numpy
from headrace.connectors.records.rows import Arrivals, RowMaker
from headrace.connectors.records.typed_block import Reject
from headrace.connectors.source import SourceBatch, SourceContext, SourceOptions
from headrace.events.dead_letter import DeadLetter
from headrace.events.schema import RowSchema
from headrace.foundation.errors import HeadraceError, InvalidDeclarationError, NotFoundError

_CONNECT_SECONDS = 15.0
_JSON_GROWTH = 4
"""A binary message may grow on its way to JSON; its own size has been measured before."""


class _Position(msgspec.Struct):
    """The next offset of each partition, and for a bounded source where it ends."""

    offsets: dict[str, int] = {}
    ends: dict[str, int] = {}


class _Message(msgspec.Struct):
    """A message that was read."""

    partition: int
    offset: int
    timestamp: int
    raw: bytes
    line: bytes


def open_source(options: SourceOptions, context: SourceContext) -> "KafkaSource":
    """Opens a foreign topic as a source."""
    return KafkaSource(options, context)


class KafkaSource:
    """See the port. Ids are `NAME:TOPIC/PARTITION@OFFSET` where none are declared; without an event-time column a row's time is its message's."""

    def __init__(self, options: SourceOptions, context: SourceContext) -> None:
        self._given = Options.model_validate(dict(options.options))
        self._where = f"StreamConnector/{options.name}"
        registry = SchemaRegistry(self._given.schema_registry) if self._given.schema_registry else None
        if self._given.format in ("avro", "protobuf") and registry is None:
            raise InvalidDeclarationError(
                f"format {self._given.format} needs a schema registry", where=f"{self._where}: spec.kafka", next_step="add schemaRegistry: {url: …}"
            )  # fmt: skip
        self._debezium = self._given.format == "debezium"
        self._source = replace(options, id=()) if self._debezium else options
        self._decode = decoder(self._given.format, registry)
        self._clock = context.clock
        self._schema = options.schema
        self._parser: JsonLines | DebeziumLines | None = None
        self._maker: RowMaker | None = None
        self._consumer: Consumer | None = None
        self._offsets: dict[int, int] = {}
        self._ends: dict[int, int] = {}
        self._at_end: set[int] = set()
        """Partitions of which everything was read that there is."""
        self._lost: list[tuple[str, DeadLetter]] = []
        self._refused: list[HeadraceError] = []

    @property
    def bounded(self) -> bool:
        return self._given.bounded

    @property
    def schema(self) -> RowSchema | None:
        return self._schema

    def open(self, position: bytes | None) -> None:
        consumer = self._consumer = Consumer(
            settings(
                self._given,
                **{
                    "group.id": f"headrace-{self._source.namespace}-{self._source.name}", "enable.auto.commit": False,
                    "isolation.level": "read_committed", "auto.offset.reset": "error", "enable.partition.eof": True,
                    "queued.max.messages.kbytes": 65_536, "error_cb": self._told, "topic.metadata.refresh.interval.ms": 10_000,
                },
            )
        )  # fmt: skip
        saved = _Position() if position is None else msgspec.json.decode(position, type=_Position)
        partitions = self._partitions(consumer)
        self._offsets = {int(one): offset for one, offset in saved.offsets.items()}
        if gone := sorted(set(self._offsets) - set(partitions)):
            raise NotFoundError(
                f"{self._given.topic} had {len(self._offsets)} partitions and has {len(partitions)}: {gone} are gone",
                where=self._where, next_step="the topic was made anew; give the connector a new name to read it from its start",
            )  # fmt: skip
        self._place(consumer, [one for one in partitions if one not in self._offsets])
        self._ends = {int(one): offset for one, offset in saved.ends.items()}
        if self._given.bounded and not self._ends:
            self._ends = {one: self._watermarks(consumer, one)[1] for one in partitions}
        self._check_held(consumer)
        consumer.assign([TopicPartition(self._given.topic, one, offset) for one, offset in self._offsets.items()])
        if self._schema is not None:
            self._settle(self._schema)

    def poll(self, max_rows: int, timeout_seconds: float) -> SourceBatch:
        consumer = self._consumer
        assert consumer is not None, "the source is not open"
        messages = consumer.consume(max_rows, 0) or consumer.consume(1, timeout_seconds)
        dead, self._lost = self._lost, []
        taken: list[_Message] = []
        for message in messages:
            if (error := message.error()) is not None:
                self._meet(consumer, message, error, dead)
            else:
                self._take(message, taken, dead)
        if self._refused:
            raise self._refused[0]
        batch = self._batch(taken) if taken else SourceBatch(None, (), b"")
        done = self._given.bounded and all(self._offsets.get(one, 0) >= end for one, end in self._ends.items())
        waiting = not taken and not dead and self._at_end >= set(self._offsets)
        return replace(
            batch, dead=[*dead, *batch.dead], position=self._position(), end=done, waiting=waiting and not done
        )

    def lag(self) -> int | None:
        """Messages, and marks of transactions, that are there and not read."""
        if self._consumer is None:
            return None
        total = 0
        for one, offset in self._offsets.items():
            _, high = self._consumer.get_watermark_offsets(TopicPartition(self._given.topic, one), cached=True)
            total += max(0, high - offset)
        return total

    def close(self) -> None:
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    # --- where to read ---

    def _partitions(self, consumer: Consumer) -> list[int]:
        try:
            found = consumer.list_topics(self._given.topic, timeout=_CONNECT_SECONDS).topics[self._given.topic]
        except KafkaException as exception:
            if self._refused:
                raise self._refused[0] from exception
            raise translate(error_of(exception), self._where) from exception
        if found.error is not None:
            raise translate(found.error, self._where)
        return sorted(found.partitions)

    def _place(self, consumer: Consumer, partitions: list[int]) -> None:
        """Where partitions begin that have no place yet; one that was added later begins at its start."""
        start, first = self._given.start, not self._offsets
        if isinstance(start, dict):
            self._offsets |= {one: start.get(one, self._watermarks(consumer, one)[0]) for one in partitions}
        elif start == "earliest" or not first:
            self._offsets |= {one: self._watermarks(consumer, one)[0] for one in partitions}
        elif start == "latest":
            self._offsets |= {one: self._watermarks(consumer, one)[1] for one in partitions}
        else:
            moment = round(datetime.fromisoformat(start).timestamp() * 1000)
            wanted = [TopicPartition(self._given.topic, one, moment) for one in partitions]
            try:
                found = consumer.offsets_for_times(wanted, timeout=_CONNECT_SECONDS)
            except KafkaException as exception:
                raise translate(error_of(exception), self._where) from exception
            for one in found:
                end = self._watermarks(consumer, one.partition)[1]
                self._offsets[one.partition] = one.offset if one.offset >= 0 else end

    def _watermarks(self, consumer: Consumer, partition: int) -> tuple[int, int]:
        try:
            low, high = consumer.get_watermark_offsets(
                TopicPartition(self._given.topic, partition), timeout=_CONNECT_SECONDS
            )
        except KafkaException as exception:
            raise translate(error_of(exception), self._where) from exception
        return low, high

    def _check_held(self, consumer: Consumer) -> None:
        """Retention may have passed the reader: what is lost is said, once, and reading goes on at what is left."""
        for one, offset in sorted(self._offsets.items()):
            low, high = self._watermarks(consumer, one)
            if offset < low:
                self._lost.append(self._loss(one, offset, low))
                self._offsets[one] = low
            elif offset > high:
                raise NotFoundError(
                    f"{self._given.topic}/{one} ends at {high}, and {offset} was read: the topic was made anew",
                    where=self._where, next_step="give the connector a new name to read it from its start",
                )  # fmt: skip

    def _loss(self, partition: int, offset: int, low: int) -> tuple[str, DeadLetter]:
        reason = f"retention dropped {low - offset} offsets of {self._given.topic}/{partition} ({offset} to {low - 1}) before they were read"
        return dead_letter(
            source=self._name(partition), position=f"{offset}-{low}", code="retention_passed", reason=reason, raw=b""
        )

    def _told(self, error: Any) -> None:
        """Credentials are refused behind our back; everything else comes back as the outcome of a call."""
        found = translate(error, self._where)
        if isinstance(found, InvalidDeclarationError):
            self._refused.append(found)

    def _meet(self, consumer: Consumer, message: Any, error: Any, dead: list[tuple[str, DeadLetter]]) -> None:
        if error.code() == END_OF_PARTITION:
            self._offsets[message.partition()] = max(self._offsets.get(message.partition(), 0), message.offset())
            self._at_end.add(message.partition())
            return
        if error.code() == error._AUTO_OFFSET_RESET:  # noqa: SLF001 - the client's own name
            partition = message.partition()
            low, _ = self._watermarks(consumer, partition)
            dead.append(self._loss(partition, self._offsets[partition], low))
            self._offsets[partition] = low
            consumer.seek(TopicPartition(self._given.topic, partition, low))
            return
        if not error.retriable():
            raise translate(error, self._where)

    # --- what was read ---

    def _take(self, message: Any, taken: list[_Message], dead: list[tuple[str, DeadLetter]]) -> None:
        partition, offset, raw = message.partition(), message.offset(), message.value()
        self._offsets[partition] = offset + 1
        self._at_end.discard(partition)
        if partition in self._ends and offset >= self._ends[partition]:
            return
        if raw is None:
            if not self._debezium:  # a tombstone behind a change event says nothing new
                dead.append(
                    self._letter(
                        partition, offset, Reject(0, "no_value", "the message has no value, and a row is due"), b""
                    )
                )
            return
        if len(raw) > self._given.max_record_bytes:
            reason = f"{len(raw)} bytes are more than maxRecordBytes ({self._given.max_record_bytes})"
            dead.append(self._letter(partition, offset, Reject(0, "too_large", reason), raw))
            return
        try:
            line = self._decode(raw)
        except UnreadableMessageError as error:
            dead.append(self._letter(partition, offset, Reject(0, "not_readable", str(error)), raw))
            return
        taken.append(_Message(partition, offset, message.timestamp()[1], raw, line))

    def _batch(self, messages: list[_Message]) -> SourceBatch:
        parser, maker = self._ready(messages)
        block = parser.parse(b"\n".join(one.line or b"null" for one in messages), final=True)
        assert block.count == len(messages), "a message is one line of JSON"
        bad = {reject.index for reject in block.rejects}
        good = [index for index in range(len(messages)) if index not in bad]
        rows, refused = maker.make(block.table, self._arrivals([messages[index] for index in good]))
        faults = [*block.rejects, *(Reject(good[fault.index], fault.code, fault.reason) for fault in refused)]
        dead = [
            self._letter(
                messages[fault.index].partition, messages[fault.index].offset, fault, messages[fault.index].raw
            )
            for fault in sorted(faults, key=lambda fault: fault.index)
        ]
        offsets = np.array([messages[index].offset for index in good], np.int64)[int64_numpy(rows.offsets)]
        rows = replace(rows, offsets=int64_array(offsets))
        return SourceBatch(rows if rows.num_rows else None, dead, b"")

    def _ready(self, messages: list[_Message]) -> tuple[JsonLines | DebeziumLines, RowMaker]:
        if self._parser is None or self._maker is None:
            sample = [one.line for one in messages[:SAMPLE_RECORDS]]
            return self._settle(infer_json(flat_sample(sample) if self._debezium else sample) or UNKNOWN)
        return self._parser, self._maker

    def _settle(self, schema: RowSchema) -> tuple[JsonLines | DebeziumLines, RowMaker]:
        self._schema = schema
        limit = self._given.max_record_bytes * _JSON_GROWTH
        rows = JsonLines(schema, limit)
        self._parser = DebeziumLines(rows, limit) if self._debezium else rows
        self._maker = RowMaker(self._source, schema, self._clock)
        return self._parser, self._maker

    def _arrivals(self, messages: list[_Message]) -> Arrivals:
        names = [f"{self._source.name}:{self._given.topic}/{one.partition}@{one.offset}" for one in messages]
        times = None
        if self._source.event_time.column is None:
            times = int64_array(np.array([one.timestamp for one in messages], np.int64))
        return Arrivals(
            source=self._given.topic, positions=np.array([one.offset for one in messages], np.int64),
            ids=pa.array(names, pa.string()), ingested_at=times,
        )  # fmt: skip

    def _name(self, partition: int) -> str:
        return f"{self._source.name}:{self._given.topic}/{partition}"

    def _letter(self, partition: int, offset: int, fault: Reject, raw: bytes) -> tuple[str, DeadLetter]:
        reason = f"{self._given.topic}/{partition}@{offset}: {fault.reason}"
        return dead_letter(source=self._name(partition), position=str(offset), code=fault.code, reason=reason, raw=raw)

    def _position(self) -> bytes:
        return msgspec.json.encode(
            _Position(
                {str(one): offset for one, offset in sorted(self._offsets.items())},
                {str(one): end for one, end in self._ends.items()},
            )
        )
