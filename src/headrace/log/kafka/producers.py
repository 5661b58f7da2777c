"""Transactional producers, each under its own id: a new holder of an id ends what the previous one left open."""

import queue
import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from headrace.foundation.clock import SYSTEM_CLOCK
from headrace.foundation.errors import UnavailableError
from headrace.foundation.failpoints import failpoint
from headrace.log.kafka.errors import FATAL, FENCED, TIMED_OUT, error_of, translate
from headrace.log.kafka.options import KafkaOptions

_SETTLE_SECONDS = 120.0
"""How long to ask for the end of a transaction while the broker is unreachable, before its outcome counts as unknown."""
_STEP_SECONDS = 10.0
_OFFSETS_SECONDS = 5.0
_LARGE = 1 << 16
"""Value size in bytes above which the broker or the topic may refuse it."""
Message = dict[str, Any]


class ProducerFencedError(Exception):
    """Another producer took this id, or the broker bumped the id's epoch: nothing was written."""


@dataclass(frozen=True, slots=True)
class Run:
    """Messages for one partition, in order."""

    count: int
    messages: Iterable[Message]
    """The arguments of `Producer.produce`; may be generated lazily and read once."""


@dataclass(frozen=True, slots=True)
class GroupMove:
    """A group's offsets once the transaction is committed."""

    group: str
    offsets: tuple[TopicPartition, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """The offsets of a transaction's records: (first, last) for each run of messages; None for an empty run."""

    runs: tuple[tuple[int, int] | None, ...]


class TransactionalProducer:
    """One producer with one id; one transaction at a time."""

    def __init__(self, options: KafkaOptions, name: str) -> None:
        self._options, self._id = options, f"{options.prefix}{name}"
        self._producer: Producer | None = None
        self._groups: dict[str, Any] = {}
        self.lock = threading.RLock()
        self._begun, self._deletions = False, 0

    def begun_since(self, deletions: int) -> bool:
        """Whether we hold the id as far as we know, and the deletion count when we took it."""
        return self._begun and self._deletions == deletions

    def begin(self, deletions: int = 0) -> None:
        """Takes the id: fences its previous user and ends what it left open."""
        self._drop()
        config = self._options.client(
            **{
                "transactional.id": self._id, "transaction.timeout.ms": self._options.transaction_timeout_ms,
                "linger.ms": 0, "acks": "all", "compression.type": "lz4", "message.max.bytes": 64 << 20,
                "batch.size": 1 << 20, "queue.buffering.max.messages": 1_000_000, "queue.buffering.max.kbytes": 1 << 20,
            }
        )  # fmt: skip
        producer = Producer(config)
        with self._translated():
            _until_settled(lambda: producer.init_transactions(_STEP_SECONDS), "the transactional id was not granted")
        self._producer, self._begun, self._deletions = producer, True, deletions

    def write(self, runs: Iterable[Run], moves: Iterable[GroupMove]) -> Written:
        """One transaction. ProducerFencedError and UnavailableError: nothing was written.

        Slow work overlaps: messages are created while the first are being sent, and the groups' offsets are sent
        with the last.
        """
        assert self._producer is not None
        producer = self._producer
        ends: list[list[tuple[KafkaError | None, int]]] = []
        try:
            producer.begin_transaction()
            ends += [self._produce(producer, run) for run in runs]
            for move in moves:
                self._send_offsets(producer, move)
            self._flush(producer)
            _raise_refused(ends)
            failpoint("log.commit.before")
            _until_settled(lambda: producer.commit_transaction(_STEP_SECONDS), "the transaction could not be committed")
            failpoint("log.commit.after")
        except KafkaException as exception:
            self._give_up(producer, exception)
        except SystemError as wrapped:  # how the client raises errors from our callback
            if not isinstance(wrapped.__cause__, KafkaException):
                raise
            self._give_up(producer, wrapped.__cause__)
        except Exception:  # a message could not be created: retaking the id ends the open transaction
            self._drop()
            raise
        return Written(tuple(_checked(one, self._options.bootstrap_servers) for one in ends))

    def close(self) -> None:
        with self.lock:
            self._drop()

    def _drop(self) -> None:
        """Closes the client; an open transaction ends with the next holder of the id or its timeout."""
        self._producer, self._begun = None, False

    def _send_offsets(self, producer: Producer, move: GroupMove) -> None:
        """ProducerFencedError if it takes too long: the client does not repair a broken connection to a group coordinator, and then ignores its
        own timeout (seen with librdkafka 2.16). Another client retakes the id; what the transaction already sent never becomes visible.
        """
        metadata = self._group(move.group)
        outcome: queue.Queue[BaseException | None] = queue.Queue()

        def send() -> None:
            try:
                _until_settled(
                    lambda: producer.send_offsets_to_transaction(list(move.offsets), metadata, _STEP_SECONDS),
                    "offsets could not be sent",
                )
            except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
                outcome.put(error)
            else:
                outcome.put(None)

        threading.Thread(target=send, name="headrace-offsets", daemon=True).start()
        try:
            error = outcome.get(timeout=_OFFSETS_SECONDS)
        except queue.Empty:
            self._drop()
            raise ProducerFencedError(f"offsets could not be sent within {_OFFSETS_SECONDS:.0f} s") from None
        if error is not None:
            raise error

    def _flush(self, producer: Producer) -> None:
        if producer.flush(_SETTLE_SECONDS):
            raise KafkaException(KafkaError(TIMED_OUT, "records could not be sent"))

    def _produce(self, producer: Producer, run: Run) -> list[tuple[KafkaError | None, int]]:
        """Passes messages to the client; the returned list is filled with the outcome of the first, the last, and any that may be too large."""
        ends: list[tuple[KafkaError | None, int]] = []

        def told(error: KafkaError | None, message: Any) -> None:
            ends.append((error, -1 if error is not None else message.offset()))

        last = run.count - 1
        for place, message in enumerate(run.messages):
            if place in (0, last) or len(message["value"] or b"") > _LARGE:
                message["on_delivery"] = told
            while True:
                try:
                    producer.produce(**message)
                    break
                except BufferError:
                    producer.poll(0.1)
        return ends

    def _group(self, group: str) -> Any:
        """Identifies a group in a transaction."""
        if group not in self._groups:
            consumer = Consumer(self._options.client(**{"group.id": group, "enable.auto.commit": False}))
            self._groups[group] = consumer.consumer_group_metadata()
            consumer.close()
        return self._groups[group]

    def _give_up(self, producer: Producer, exception: KafkaException) -> None:
        error = error_of(exception)
        if _lost(error):
            self._drop()
            raise ProducerFencedError(error.str()) from exception
        if error.txn_requires_abort():
            try:
                producer.abort_transaction(_STEP_SECONDS)
            except KafkaException as second:  # retaking the id ends the open transaction
                self._drop()
                if _lost(error_of(second)):
                    raise ProducerFencedError(error_of(second).str()) from exception
        else:
            self._drop()
        raise translate(error, self._options.bootstrap_servers) from exception

    @contextmanager
    def _translated(self) -> Generator[None]:
        try:
            yield
        except KafkaException as exception:
            self._drop()
            raise translate(error_of(exception), self._options.bootstrap_servers) from exception


def _lost(error: KafkaError) -> bool:
    """Whether we lost the id, or the client cannot continue with it: it must be retaken."""
    return error.code() in FENCED or error.code() == FATAL or error.fatal()


def _raise_refused(ends: list[list[tuple[KafkaError | None, int]]]) -> None:
    """KafkaException: the broker rejected a message; its commit would only report it as out of sequence."""
    for error, _ in (one for run in ends for one in run):
        if error is not None:
            raise KafkaException(error)


def _checked(ends: list[tuple[KafkaError | None, int]], where: str) -> tuple[int, int] | None:
    for error, _ in ends:
        if error is not None:
            raise translate(error, where)
    return (ends[0][1], ends[-1][1]) if ends else None


def _until_settled(call: Callable[[], None], what: str) -> None:
    """Retries while the broker is unreachable: until it answers, the transaction's outcome is unknown."""
    deadline = SYSTEM_CLOCK.monotonic() + _SETTLE_SECONDS
    while True:
        try:
            call()
        except KafkaException as exception:
            error = error_of(exception)
            if not error.retriable() or error.txn_requires_abort() or error.fatal():
                raise
            if SYSTEM_CLOCK.monotonic() > deadline:
                raise UnavailableError(
                    f"{what} within {_SETTLE_SECONDS:.0f} s: {error.str()}",
                    next_step="check that the broker is running and reachable",
                ) from exception
        else:
            return
