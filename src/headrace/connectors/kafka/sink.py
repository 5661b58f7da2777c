"""Records to a topic of other people, each once.

    type: kafka
    kafka: {bootstrapServers: broker:9092, topic: bars, format: avro, schemaRegistry: {url: https://registry:8081}, key: symbol}

`prepare` writes what waits in one Kafka transaction, together with what it was, as the offset of a group of the sink's own. A process
that is killed between this transaction and the log's finds it there, and does not write the same records again. It knows them by the
first one's id and time of arrival, so that a new log of the same name is not mistaken for the old one. The transactional id is the
connector's: a sink that was replaced cannot write.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from headrace.connectors.kafka.client import FENCED, REFUSED_RECORD, error_of, settings, translate
from headrace.connectors.kafka.options import SinkOptions as Options
from headrace.connectors.kafka.places import CONNECT_SECONDS, Places
from headrace.connectors.kafka.registry import SchemaRegistry
from headrace.connectors.kafka.writing import writing
from headrace.connectors.records.outgoing import outgoing_json
from headrace.connectors.refusal import Refused, RefusedRecordsError
from headrace.connectors.sink import SinkOptions
from headrace.foundation.errors import FencedError, FinalError, HeadraceError, InvalidDeclarationError
from headrace.foundation.ids import derive_id
from headrace.log.record import Record

_SECONDS = 30.0
_LARGEST_BYTES = 256 << 20
_MOST_NOTED = 200
"""Refused records that a transaction's note names; a note may have 4 KiB."""
_BEFORE_ANY = -1


class _Prepared(msgspec.Struct):
    """How far the sink has come, as the log knows it."""

    last: int = _BEFORE_ANY
    """Offset in the log of the last record that was written."""


class _Note(msgspec.Struct):
    """What a transaction wrote, kept in it as the metadata of the group's offset."""

    first: int
    """Offset in the log of its first record."""
    mark: str
    """Tells that record from one at the same place of another log."""
    last: int
    refused: list[int] = []
    """Between them, those that Kafka did not take."""


def open_sink(options: SinkOptions) -> "KafkaSink":
    """Opens a foreign topic as a sink."""
    return KafkaSink(options)


class KafkaSink:
    """See the port. What was prepared is visible at once, and never written twice."""

    def __init__(self, options: SinkOptions) -> None:
        self._given = Options.model_validate(dict(options.options))
        self._where = f"StreamConnector/{options.name}"
        self._name = f"headrace-sink-{options.namespace}-{options.name}"
        registry = SchemaRegistry(self._given.schema_registry, self._where) if self._given.schema_registry else None
        if self._given.format != "json" and registry is None:
            raise InvalidDeclarationError(
                f"format {self._given.format} needs a schema registry", where=f"{self._where}: spec.kafka",
                next_step="add schemaRegistry: {url: …}",
            )  # fmt: skip
        self._registry = registry
        self._writing = writing(self._given.format, registry, self._given.topic, self._where)
        self._producer: Producer | None = None
        self._group: Any = None
        self._found: _Note | None = None
        """The last transaction's note, not compared with what is written yet."""
        self._refused_login: HeadraceError | None = None
        self._waiting: list[tuple[Record, bytes]] = []
        self._refused: list[Refused] = []
        self._last = _BEFORE_ANY

    def recover(self, prepared: bytes | None) -> None:
        """Takes the transactional id over, which ends what another process has open."""
        self._waiting.clear()
        self._refused.clear()
        self._last = _BEFORE_ANY if prepared is None else msgspec.json.decode(prepared, type=_Prepared).last
        self._connect()

    def write(self, records: Sequence[Record]) -> None:
        """FinalError: a record does not fit the format."""
        reached = self._waiting[-1][0].offset if self._waiting else self._last
        self._waiting += [(record, self._encoded(record)) for record in records if record.offset > reached]

    def prepare(self, *, end: bool = False) -> bytes:  # noqa: ARG002 - there is nothing to close
        if self._waiting and self._producer is None:
            self._connect()
        self._pass_over_what_is_there()
        while self._waiting:
            refused = self._send(self._waiting)
            if refused is None:
                self._last = self._waiting[-1][0].offset
                self._waiting = []
            else:
                self._refused += refused
                self._waiting = [one for one in self._waiting if all(one[0] is not other.record for other in refused)]
        if self._refused:
            refused, self._refused = self._refused, []
            message = f"Kafka did not take {len(refused)} records: {refused[0].reason}"
            raise RefusedRecordsError(message, refused, where=self._where)
        return msgspec.json.encode(_Prepared(self._last))

    def publish(self) -> None:
        """It is visible already."""

    def close(self) -> None:
        self._producer = None
        if self._registry is not None:
            self._registry.close()

    # --- Kafka ---

    def _connect(self) -> None:
        consumer: Consumer | None = None
        told = {"error_cb": self._told}
        try:
            consumer = Consumer(
                settings(
                    self._given,
                    **{
                        "group.id": self._name,
                        "enable.auto.commit": False,
                        "isolation.level": "read_committed",
                        **told,
                    },
                )
            )
            Places(consumer, self._given.topic, self._where, lambda: self._refused_login).partitions()
            producer = Producer(
                settings(
                    self._given,
                    **{
                        "transactional.id": self._name, "linger.ms": 5, "compression.type": "lz4",
                        "message.max.bytes": _LARGEST_BYTES, "partitioner": "murmur2_random", **told,
                    },
                )
            )  # fmt: skip
            producer.init_transactions(_SECONDS)
            self._group = consumer.consumer_group_metadata()
            (place,) = consumer.committed([TopicPartition(self._given.topic, 0)], timeout=CONNECT_SECONDS)
        except KafkaException as exception:
            raise self._refused_login or translate(error_of(exception), self._where) from exception
        finally:
            if consumer is not None:
                consumer.close()
        note = place.metadata if place.offset >= 0 else None
        self._found = msgspec.json.decode(note, type=_Note) if note else None
        self._producer = producer

    def _pass_over_what_is_there(self) -> None:
        """Drops what a transaction wrote whose commit the log does not know."""
        found = self._found
        if found is None or not self._waiting:
            return
        self._found = None
        first = next((record for record, _ in self._waiting if record.offset == found.first), None)
        if first is None or _mark(first) != found.mark:
            return
        here = [record for record, _ in self._waiting if record.offset <= found.last]
        self._refused += [Refused(one, "Kafka refused it before") for one in here if one.offset in found.refused]
        self._waiting = [one for one in self._waiting if one[0].offset > found.last]
        self._last = max(self._last, found.last)

    def _send(self, records: list[tuple[Record, bytes]]) -> list[Refused] | None:
        """One transaction. None: it is committed; else nothing is, and these are at fault."""
        producer = self._producer
        assert producer is not None
        refused: list[Refused] = []
        try:
            producer.begin_transaction()
            for record, value in records:
                self._produce(producer, record, value, refused)
            if not refused:
                producer.send_offsets_to_transaction([self._note(records)], self._group, _SECONDS)
                producer.commit_transaction(_SECONDS)
                return None
        except KafkaException as exception:
            error = error_of(exception)
            if error.code() in FENCED:
                self._producer = None
                raise FencedError(f"another process writes as {self._name}", where=self._where) from exception
            if not refused:
                self._producer = None  # taken anew at the next try, which ends what is open here
                raise self._refused_login or translate(error, self._where) from exception
        self._abort(producer)
        return refused

    def _abort(self, producer: Producer) -> None:
        try:
            producer.abort_transaction(_SECONDS)
        except KafkaException:
            self._connect()  # the id is taken over from our own open transaction

    def _produce(self, producer: Producer, record: Record, value: bytes, refused: list[Refused]) -> None:
        headers: list[tuple[str, str | bytes | None]] = [("id", record.id.encode()), ("origin", record.origin.encode())]
        while not refused:
            try:
                producer.produce(
                    self._given.topic, value, self._key(record), headers=headers, timestamp=max(1, record.event_time),
                    on_delivery=partial(_delivered, refused, record),
                )  # fmt: skip
                producer.poll(0)
                return
            except BufferError:
                producer.poll(0.1)
            except KafkaException as exception:
                if error_of(exception).code() not in REFUSED_RECORD:
                    raise
                refused.append(Refused(record, error_of(exception).str()))

    def _note(self, records: list[tuple[Record, bytes]]) -> TopicPartition:
        first, last = records[0][0], records[-1][0].offset
        refused = [one.record.offset for one in self._refused if one.record.offset < last][:_MOST_NOTED]
        note = _Note(first.offset, _mark(first), last, refused)
        return TopicPartition(self._given.topic, 0, last + 1, msgspec.json.encode(note).decode())

    def _told(self, error: KafkaError) -> None:
        """Credentials are refused behind our back; everything else comes back as the outcome of a call."""
        if isinstance(found := translate(error, self._where), InvalidDeclarationError):
            self._refused_login = found

    # --- records ---

    def _key(self, record: Record) -> bytes | None:
        if self._given.key is None:
            return record.key.encode() or None
        value = msgspec.json.decode(record.value).get(self._given.key)
        return None if value is None else value.encode() if isinstance(value, str) else msgspec.json.encode(value)

    def _encoded(self, record: Record) -> bytes:
        try:
            return self._writing.encode(outgoing_json(record, metadata=self._given.metadata))
        except msgspec.MsgspecError as error:
            raise FinalError(f"the record {record.id} is not JSON: {error}", where=self._where) from error


def _delivered(refused: list[Refused], record: Record, error: KafkaError | None, _: object) -> None:
    """Notes what Kafka will never take; everything else comes back as the outcome of the transaction."""
    if error is not None and error.code() in REFUSED_RECORD:
        refused.append(Refused(record, error.str()))


def _mark(record: Record) -> str:
    return derive_id(record.id, record.ingested_at)
