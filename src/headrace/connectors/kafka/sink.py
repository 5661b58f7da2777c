"""Records to a topic of other people, each once.

`prepare` writes what is waiting in one Kafka transaction, together with the number of the preparation, as an offset of a group of the
sink's own. After a restart the number says whether what was prepared last has arrived: records that the log would hand in again
are passed over. The transactional id is the connector's, so that a sink that was replaced cannot write.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from headrace.connectors.kafka.client import FENCED, error_of, settings, translate
from headrace.connectors.kafka.formats import avro_schema, encode_avro
from headrace.connectors.kafka.options import SinkOptions as Options
from headrace.connectors.kafka.registry import SchemaRegistry
from headrace.connectors.records.outgoing import outgoing_json
from headrace.connectors.sink import SinkOptions
from headrace.foundation.errors import FencedError, FinalError, InvalidDeclarationError
from headrace.log.record import Record

_SECONDS = 30.0


class _Prepared(msgspec.Struct):
    """How far the sink has come, as the log knows it."""

    last: int = -1
    """Offset in the log of the last record that was written."""


def open_sink(options: SinkOptions) -> "KafkaSink":
    """Opens a foreign topic as a sink."""
    return KafkaSink(options)


class KafkaSink:
    """See the port. What was prepared is visible at once, and never written twice."""

    def __init__(self, options: SinkOptions) -> None:
        self._given = Options.model_validate(dict(options.options))
        self._where = f"StreamConnector/{options.name}"
        self._name = f"headrace-sink-{options.namespace}-{options.name}"
        self._registry = SchemaRegistry(self._given.schema_registry) if self._given.schema_registry else None
        if self._given.format == "avro" and self._registry is None:
            raise InvalidDeclarationError(
                "format avro needs a schema registry",
                where=f"{self._where}: spec.kafka",
                next_step="add schemaRegistry: {url: …}",
            )
        self._schema: tuple[Any, int] | None = None
        self._producer: Producer | None = None
        self._metadata: Any = None
        self._waiting: list[tuple[Record, bytes]] = []
        self._last = -1

    def recover(self, prepared: bytes | None) -> None:
        """Takes the id over; what Kafka already has of what comes now is passed over."""
        self._waiting.clear()
        try:
            consumer = Consumer(
                settings(
                    self._given,
                    **{"group.id": self._name, "enable.auto.commit": False, "isolation.level": "read_committed"},
                )
            )
            self._producer = Producer(
                settings(
                    self._given,
                    **{
                        "transactional.id": self._name,
                        "linger.ms": 5,
                        "compression.type": "lz4",
                        "message.max.bytes": 64 << 20,
                    },
                )
            )
            self._producer.init_transactions(_SECONDS)
            self._metadata = consumer.consumer_group_metadata()
            (found,) = consumer.committed([TopicPartition(self._given.topic, 0)], timeout=_SECONDS)
            consumer.close()
        except KafkaException as exception:
            self._producer = None
            raise translate(error_of(exception), self._where) from exception
        known = _Prepared() if prepared is None else msgspec.json.decode(prepared, type=_Prepared)
        self._last = max(known.last, found.offset - 1 if found.offset >= 0 else -1)

    def write(self, records: Sequence[Record]) -> None:
        """FinalError: a record does not fit the format."""
        encoded = [(record, self._encode(record)) for record in records if record.offset > self._last]
        self._waiting += encoded

    def prepare(self, *, end: bool = False) -> bytes:  # noqa: ARG002 - there is nothing to close
        if self._waiting:
            if self._producer is None:
                self.recover(msgspec.json.encode(_Prepared(self._last)))
            self._send(self._waiting)
            self._last = self._waiting[-1][0].offset
            self._waiting = []
        return msgspec.json.encode(_Prepared(self._last))

    def publish(self) -> None:
        """It is visible already."""

    def close(self) -> None:
        self._producer = None

    def _send(self, records: list[tuple[Record, bytes]]) -> None:
        producer = self._producer
        assert producer is not None
        try:
            producer.begin_transaction()
            for record, value in records:
                headers: list[tuple[str, str | bytes | None]] = [
                    ("id", record.id.encode()),
                    ("origin", record.origin.encode()),
                ]
                while True:
                    try:
                        producer.produce(
                            self._given.topic,
                            value,
                            self._key(record),
                            timestamp=max(1, record.event_time),
                            headers=headers,
                        )
                        break
                    except BufferError:
                        producer.poll(0.1)
            done = TopicPartition(self._given.topic, 0, records[-1][0].offset + 1)
            producer.send_offsets_to_transaction([done], self._metadata, _SECONDS)
            producer.commit_transaction(_SECONDS)
        except KafkaException as exception:
            self._producer = None  # taken anew at the next try, which ends what is open here
            error = error_of(exception)
            if error.code() in FENCED:
                raise FencedError(f"another process writes as {self._name}", where=self._where) from exception
            raise translate(error, self._where) from exception

    def _key(self, record: Record) -> bytes | None:
        if self._given.key is None:
            return record.key.encode() or None
        value = msgspec.json.decode(record.value).get(self._given.key)
        return None if value is None else str(value).encode()

    def _encode(self, record: Record) -> bytes:
        line = outgoing_json(record, metadata=self._given.metadata)
        if self._given.format == "json":
            return line
        value: dict[str, Any] = msgspec.json.decode(line)
        assert self._registry is not None
        if self._schema is None:
            schema = avro_schema(self._given.topic, value)
            self._schema = schema, self._registry.register(f"{self._given.topic}-value", schema)
        try:
            return encode_avro(*self._schema, value)
        except (ValueError, TypeError) as error:
            raise FinalError(
                f"the record {record.id} does not fit the Avro schema: {error}", where=self._where
            ) from error
