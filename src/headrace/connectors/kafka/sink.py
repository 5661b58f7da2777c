"""Records to a topic of other people, each once.

    type: kafka
    kafka: {bootstrapServers: broker:9092, topic: bars, format: avro, schemaRegistry: {url: https://registry:8081}, key: symbol}

`prepare` writes what waits in one Kafka transaction, together with what it was, as the offset of a group of the sink's own. A process
that is killed between this transaction and the log's finds it there, and does not write the same records again. It knows them by the
first one's id and time of arrival, so that a new log of the same name is not mistaken for the old one. The transactional id is the
connector's: a sink that was replaced cannot write.

Kafka refuses a whole batch where one of its records is at fault, or where they are too large together. What it refused is written
again in halves, each in a transaction of its own, until a record that is refused stands alone.
"""

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from headrace.connectors.kafka.client import (
    FENCED,
    REFUSED_RECORD,
    TIMED_OUT,
    Told,
    error_of,
    settings,
    unwrapped,
    within,
)
from headrace.connectors.kafka.options import SinkOptions as Options
from headrace.connectors.kafka.places import ANSWER_SECONDS, Places
from headrace.connectors.kafka.registry import SchemaRegistry
from headrace.connectors.kafka.writing import writing
from headrace.connectors.records.outgoing import outgoing_json
from headrace.connectors.refusal import Refused, RefusedRecordsError
from headrace.connectors.sink import SinkOptions
from headrace.foundation.errors import FencedError, FinalError, InvalidDeclarationError, UnavailableError
from headrace.foundation.ids import derive_id
from headrace.log.record import Record

_SECONDS = 30.0
_OFFSETS_SECONDS = 5.0
_LARGEST_BYTES = 256 << 20
_MOST_NOTED = 200
"""Refused records that a transaction's note names; a note may have 4 KiB."""
_BEFORE_ANY = -1
Outgoing = tuple[Record, bytes]
"""A record and its value as it is written."""


class _Prepared(msgspec.Struct):
    """How far the sink has come, as the log knows it."""

    last: int = _BEFORE_ANY
    """Offset in the log of the last record that was written."""


class _Note(msgspec.Struct):
    """What a transaction wrote, kept in it as the metadata of the group's offset."""

    first: int
    """Offset in the log of the first record since the log last knew how far the sink had come."""
    mark: str
    """Tells that record from one at the same place of another log."""
    last: int
    """Offset in the log of its own last record."""
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
        self._told = Told(self._where)
        self._waiting: list[Outgoing] = []
        self._first: Record | None = None
        """Of what was prepared since the log last knew how far the sink had come."""
        self._refused: list[Refused] = []
        self._last = _BEFORE_ANY

    def recover(self, prepared: bytes | None) -> None:
        """Takes the transactional id over, which ends what another process has open. A broker that is away is asked at the first write."""
        self._waiting.clear()
        self._refused.clear()
        self._first = None
        self._last = _BEFORE_ANY if prepared is None else msgspec.json.decode(prepared, type=_Prepared).last
        with suppress(UnavailableError):
            self._connect()

    def write(self, records: Sequence[Record]) -> None:
        """FinalError: a record does not fit the format."""
        reached = self._waiting[-1][0].offset if self._waiting else self._last
        self._waiting += [(record, self._encoded(record)) for record in records if record.offset > reached]

    def prepare(self, *, end: bool = False) -> bytes:  # noqa: ARG002 - there is nothing to close
        if self._waiting:
            self._first = self._first or self._waiting[0][0]
            if self._producer is None:
                self._connect()
            self._pass_over_what_is_there()
            self._write_in_parts(self._waiting)
        if self._refused:
            refused, self._refused = self._refused, []
            message = f"Kafka did not take {len(refused)} records: {refused[0].reason}"
            raise RefusedRecordsError(message, refused, where=self._where)
        return msgspec.json.encode(_Prepared(self._last))

    def publish(self) -> None:
        """It is visible already, and the log knows of it."""
        self._first = None

    def close(self) -> None:
        self._producer = None
        if self._registry is not None:
            self._registry.close()

    # --- Kafka ---

    def _connect(self) -> None:
        """Takes the transactional id and looks up what its last transaction wrote."""
        consumer: Consumer | None = None
        try:
            consumer = Consumer(self._settings(**{
                "group.id": self._name, "enable.auto.commit": False, "isolation.level": "read_committed",
            }))  # fmt: skip
            Places(
                consumer, self._given.topic, self._told, partial(consumer.poll, 0)
            ).partitions()  # no message: nothing is assigned
            producer = self._begun()
            self._group = consumer.consumer_group_metadata()
            (place,) = consumer.committed([TopicPartition(self._given.topic, 0)], timeout=ANSWER_SECONDS)
        except KafkaException as exception:
            raise self._told.error(exception) from exception
        finally:
            if consumer is not None:
                consumer.close()
        note = place.metadata if place.offset >= 0 else None
        self._found = msgspec.json.decode(note, type=_Note) if note else None
        self._producer = producer

    def _begun(self) -> Producer:
        """A producer that holds the transactional id; what was open under it is over. KafkaException."""
        producer = Producer(self._settings(**{
            "transactional.id": self._name, "linger.ms": 5, "compression.type": "lz4",
            "message.max.bytes": _LARGEST_BYTES, "partitioner": "murmur2_random",
        }))  # fmt: skip
        producer.init_transactions(_SECONDS)
        return producer

    def _begun_after(self, producer: Producer) -> Producer:
        """Another in place of one whose records were refused: it would count its messages wrongly (seen with librdkafka 2.16)."""
        with suppress(KafkaException):  # what it cannot abort is over when its id is taken
            producer.abort_transaction(_SECONDS)
        return self._begun()

    def _settings(self, **more: object) -> dict[str, Any]:
        return settings(self._given, error_cb=self._told.hear, **more)

    def _pass_over_what_is_there(self) -> None:
        """Drops what a transaction wrote whose commit the log does not know."""
        found, self._found = self._found, None
        known = [record for record, _ in self._waiting] + ([self._first] if self._first else [])
        if found is None or all((one.offset, _mark(one)) != (found.first, found.mark) for one in known):
            return
        here = [record for record, _ in self._waiting if record.offset <= found.last]
        self._refused += [Refused(one, "Kafka refused it before") for one in here if one.offset in found.refused]
        self._done(found.last)

    def _write_in_parts(self, records: Sequence[Outgoing]) -> None:
        """Writes them, in halves where Kafka does not take them together."""
        if not records:
            return
        reason = self._send(records)
        if reason is not None and len(records) > 1:
            middle = len(records) // 2
            self._write_in_parts(records[:middle])
            self._write_in_parts(records[middle:])
            return
        if reason is not None:
            self._refused.append(Refused(records[0][0], reason))
        self._done(records[-1][0].offset)

    def _done(self, last: int) -> None:
        """Everything up to this offset of the log was written or refused."""
        self._last = max(self._last, last)
        self._waiting = [one for one in self._waiting if one[0].offset > last]

    def _send(self, records: Sequence[Outgoing]) -> str | None:
        """One transaction. None: it is committed; else nothing is, for this reason."""
        producer, self._producer = (
            self._producer,
            None,
        )  # taken anew after whatever goes wrong, which ends what is open here
        assert producer is not None
        refused: list[str] = []
        try:
            producer.begin_transaction()
            with unwrapped():
                for record, value in records:
                    self._produce(producer, record, value, refused)
                producer.flush(_SECONDS)  # tells what was refused; what is still unsent then, the commit waits for
            if refused:
                self._producer = self._begun_after(producer)
                return refused[0]
            self._commit(producer, self._note(records))
        except KafkaException as exception:
            if error_of(exception).code() in FENCED:
                raise FencedError(f"another process writes as {self._name}", where=self._where) from exception
            raise self._told.error(exception) from exception
        self._producer = producer
        return None

    def _commit(self, producer: Producer, note: TopicPartition) -> None:
        """The client does not mend a broken connection to a group's coordinator, and does not keep its time limit then (seen with
        librdkafka 2.16): it is asked in a thread, and where it does not answer, the transaction ends when its id is taken anew.
        """
        send = partial(producer.send_offsets_to_transaction, [note], self._group, _OFFSETS_SECONDS)
        if not within(_OFFSETS_SECONDS, send):
            raise KafkaException(KafkaError(TIMED_OUT, "the group's coordinator does not answer"))
        producer.commit_transaction(_SECONDS)

    def _produce(self, producer: Producer, record: Record, value: bytes, refused: list[str]) -> None:
        """`refused`: gets why Kafka will not take this record, or the batch that it is in."""
        headers: list[tuple[str, str | bytes | None]] = [("id", record.id.encode()), ("origin", record.origin.encode())]
        while not refused:
            try:
                producer.produce(
                    self._given.topic, value, self._key(record), headers=headers, timestamp=max(1, record.event_time),
                    on_delivery=partial(_delivered, refused),
                )  # fmt: skip
                producer.poll(0)
                return
            except BufferError:
                producer.poll(0.1)
            except KafkaException as exception:
                if error_of(exception).code() not in REFUSED_RECORD:
                    raise
                refused.append(error_of(exception).str())

    def _note(self, records: Sequence[Outgoing]) -> TopicPartition:
        assert self._first is not None
        last = records[-1][0].offset
        refused = [one.record.offset for one in self._refused if one.record.offset < last][:_MOST_NOTED]
        note = _Note(self._first.offset, _mark(self._first), last, refused)
        return TopicPartition(self._given.topic, 0, last + 1, msgspec.json.encode(note).decode())

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


def _delivered(refused: list[str], error: KafkaError | None, _: object) -> None:
    """Notes what Kafka will never take; everything else comes back as the outcome of the transaction."""
    if error is not None and error.code() in REFUSED_RECORD:
        refused.append(error.str())


def _mark(record: Record) -> str:
    return derive_id(record.id, record.ingested_at)
