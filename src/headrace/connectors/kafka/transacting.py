"""Writes messages and a note of them in one Kafka transaction, under the sink's own id: a replaced sink cannot write."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

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
from headrace.connectors.kafka.options import SinkOptions
from headrace.connectors.kafka.places import ANSWER_SECONDS, Places
from headrace.foundation.errors import FencedError
from headrace.log.record import Record

_SECONDS = 30.0
_OFFSETS_SECONDS = 5.0
_LARGEST_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record to write."""

    record: Record
    key: bytes | None
    value: bytes


class Transactions:
    """One transaction at a time. Errors: UnavailableError, NotFoundError, InvalidDeclarationError; the next one then retakes the id."""

    def __init__(self, given: SinkOptions, name: str, where: str) -> None:
        """`name`: the transactional id, and the group whose offset carries the note."""
        self._given, self._name, self._told = given, name, Told(where)
        self._producer: Producer | None = None
        self._group: Any = None

    @property
    def connected(self) -> bool:
        """Whether we hold the id, as far as we know."""
        return self._producer is not None

    def connect(self) -> str | None:
        """Takes the id, which ends any other process's open transaction, and returns the last committed transaction's note."""
        consumer: Consumer | None = None
        try:
            consumer = Consumer(self._settings(**{
                "group.id": self._name, "enable.auto.commit": False, "isolation.level": "read_committed",
            }))  # fmt: skip
            serve = partial(consumer.poll, 0)  # returns no message: nothing is assigned
            Places(consumer, self._given.topic, self._told, serve).partitions()
            producer = self._begun()
            self._group = consumer.consumer_group_metadata()
            (place,) = consumer.committed([TopicPartition(self._given.topic, 0)], timeout=ANSWER_SECONDS)
        except KafkaException as exception:
            raise self._told.error(exception) from exception
        finally:
            if consumer is not None:
                consumer.close()
        self._producer = producer
        return place.metadata if place.offset >= 0 else None

    def send(self, messages: Sequence[Outgoing], note: str) -> str | None:
        """One transaction. None: committed; otherwise nothing is, and this is why Kafka rejects a message or all of them together.

        FencedError: another process took the id.
        """
        producer = self._producer
        assert producer is not None
        self._producer = None  # retaken after any failure, which ends the open transaction
        refused: list[str] = []
        try:
            producer.begin_transaction()
            with unwrapped():
                for one in messages:
                    self._produce(producer, one, refused)
                producer.flush(_SECONDS)  # reports rejected messages; the commit waits for those still unsent
            if refused:
                self._producer = self._begun_after(producer)
                return refused[0]
            self._commit(producer, TopicPartition(self._given.topic, 0, messages[-1].record.offset + 1, note))
        except KafkaException as exception:
            if error_of(exception).code() in FENCED:
                raise FencedError(f"another process is writing as {self._name}", where=self._told.where) from exception
            raise self._told.error(exception) from exception
        self._producer = producer
        return None

    def close(self) -> None:
        """Retaking the id ends the open transaction."""
        self._producer = None

    def _settings(self, **more: object) -> dict[str, Any]:
        return settings(self._given, error_cb=self._told.hear, **more)

    def _begun(self) -> Producer:
        """A producer that holds the id. KafkaException."""
        producer = Producer(self._settings(**{
            "transactional.id": self._name, "linger.ms": 5, "compression.type": "lz4",
            "message.max.bytes": _LARGEST_BYTES, "partitioner": "murmur2_random",
        }))  # fmt: skip
        producer.init_transactions(_SECONDS)
        return producer

    def _begun_after(self, producer: Producer) -> Producer:
        """Replaces a producer whose messages were rejected: it would miscount them (seen with librdkafka 2.16)."""
        with suppress(KafkaException):  # what it cannot abort ends when its id is retaken
            producer.abort_transaction(_SECONDS)
        return self._begun()

    def _produce(self, producer: Producer, message: Outgoing, refused: list[str]) -> None:
        """`refused`: receives why Kafka will not accept this message or its batch."""
        record = message.record
        headers: list[tuple[str, str | bytes | None]] = [("id", record.id.encode()), ("origin", record.origin.encode())]
        while not refused:
            try:
                producer.produce(
                    self._given.topic, message.value, message.key, headers=headers, timestamp=max(1, record.event_time),
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

    def _commit(self, producer: Producer, note: TopicPartition) -> None:
        """The client does not repair a broken connection to a group coordinator, and then ignores its own timeout (seen with librdkafka 2.16):
        so the call runs in a thread, and if it does not return, retaking the id ends the transaction.
        """
        send = partial(producer.send_offsets_to_transaction, [note], self._group, _OFFSETS_SECONDS)
        if not within(_OFFSETS_SECONDS, send):
            raise KafkaException(KafkaError(TIMED_OUT, "the group coordinator did not answer"))
        producer.commit_transaction(_SECONDS)


def _delivered(refused: list[str], error: KafkaError | None, _: object) -> None:
    """Records what Kafka will never accept; everything else is the transaction's outcome."""
    if error is not None and error.code() in REFUSED_RECORD:
        refused.append(error.str())
