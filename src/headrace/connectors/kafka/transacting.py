"""Messages and a note of them in one Kafka transaction, under an id of the sink's own: a sink that was replaced cannot write."""

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
    """A record as it is written."""

    record: Record
    key: bytes | None
    value: bytes


class Transactions:
    """One transaction at a time. Errors: UnavailableError, NotFoundError, InvalidDeclarationError; the id is then taken again before the next."""

    def __init__(self, given: SinkOptions, name: str, where: str) -> None:
        """`name`: the transactional id, and the group whose offset holds the note."""
        self._given, self._name, self._told = given, name, Told(where)
        self._producer: Producer | None = None
        self._group: Any = None

    @property
    def connected(self) -> bool:
        """Whether the id is ours as far as we know."""
        return self._producer is not None

    def connect(self) -> str | None:
        """Takes the id, which ends what another process has open, and tells the note of the last transaction that was committed."""
        consumer: Consumer | None = None
        try:
            consumer = Consumer(self._settings(**{
                "group.id": self._name, "enable.auto.commit": False, "isolation.level": "read_committed",
            }))  # fmt: skip
            serve = partial(consumer.poll, 0)  # gives no message: nothing is assigned
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
        """One transaction. None: it is committed; else nothing is, because Kafka refuses one of them or all together, for this reason.

        FencedError: another process has taken the id.
        """
        producer = self._producer
        assert producer is not None
        self._producer = None  # taken again after any failure, which ends what is open here
        refused: list[str] = []
        try:
            producer.begin_transaction()
            with unwrapped():
                for one in messages:
                    self._produce(producer, one, refused)
                producer.flush(_SECONDS)  # tells what was refused; what is still unsent then, the commit waits for
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
        """What is open ends when the id is taken again."""
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
        """Another in place of one whose messages were refused: it would count them wrongly (seen with librdkafka 2.16)."""
        with suppress(KafkaException):  # what it cannot abort is over when its id is taken
            producer.abort_transaction(_SECONDS)
        return self._begun()

    def _produce(self, producer: Producer, message: Outgoing, refused: list[str]) -> None:
        """`refused`: gets why Kafka will not take this message, or the batch that it is in."""
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
        """The client does not mend a broken connection to a group's coordinator, and does not keep its time limit then (seen with
        librdkafka 2.16): it is asked in a thread, and where it does not answer, the transaction ends when its id is taken again.
        """
        send = partial(producer.send_offsets_to_transaction, [note], self._group, _OFFSETS_SECONDS)
        if not within(_OFFSETS_SECONDS, send):
            raise KafkaException(KafkaError(TIMED_OUT, "the group coordinator did not answer"))
        producer.commit_transaction(_SECONDS)


def _delivered(refused: list[str], error: KafkaError | None, _: object) -> None:
    """Notes what Kafka will never take; everything else comes back as the outcome of the transaction."""
    if error is not None and error.code() in REFUSED_RECORD:
        refused.append(error.str())
