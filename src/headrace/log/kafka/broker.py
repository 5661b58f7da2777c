"""The administrative connection: which topics exist, where partitions end, what groups have committed."""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

import confluent_kafka.admin
from confluent_kafka import ConsumerGroupTopicPartitions, IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from headrace.foundation.clock import SYSTEM_CLOCK
from headrace.foundation.errors import NotFoundError, UnavailableError
from headrace.log.kafka.errors import MISSING, PASSING, error_of, passes, telling, translate, translated
from headrace.log.kafka.options import KafkaOptions

_admin: Any = confluent_kafka.admin  # re-exported without a declaration
REQUEST_SECONDS = 30.0
"""How long a broker may be unreachable before the call fails."""
ANSWER_SECONDS = 30.0
"""How long to wait for one response."""
COORDINATOR_SECONDS = 5.0
"""The same for a group coordinator, whose broken connection the client does not repair."""
_AGAIN_SECONDS = 0.2
_FIRST_TRY_SECONDS = 1.0
_FOREVER = str(2**63 - 1)
KEPT = {
    "cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1", "max.message.bytes": str(64 << 20),
    "message.timestamp.after.max.ms": _FOREVER, "message.timestamp.before.max.ms": _FOREVER,
}  # fmt: skip
"""Records stay until `retention` drops them, whatever their event time."""
COMPACTED = {
    **KEPT, "cleanup.policy": "compact", "segment.ms": "3600000", "min.cleanable.dirty.ratio": "0.2", "segment.bytes": str(16 << 20),
}  # fmt: skip
_ENDING = frozenset({KafkaError.UNSTABLE_OFFSET_COMMIT})
_SETTLED_SECONDS = 1.0
_ELECTED_SECONDS = 10.0
Partition = tuple[str, int]
"""Kafka's topic name, number"""


class Broker:
    """Thread-safe."""

    def __init__(self, options: KafkaOptions) -> None:
        self.where = options.bootstrap_servers
        self._options = options
        self._client: AdminClient | None = None
        self._known: dict[str, int] = {}
        self._lock = threading.Lock()

    def _asked(self, ask: "Callable[[AdminClient], Any]") -> Any:
        """Sends a request until it is answered. While the broker is unreachable, each retry uses a new client: one whose connection to a
        coordinator broke never reconnects (seen with librdkafka 2.16).
        """
        deadline = SYSTEM_CLOCK.monotonic() + REQUEST_SECONDS
        while True:
            with self._lock:
                if self._client is None:  # not `if not`: a client with an empty queue is falsy
                    self._client = AdminClient(self._options.client())
                client = self._client
            try:
                return ask(client)
            except KafkaException as exception:
                if error_of(exception).code() not in PASSING or SYSTEM_CLOCK.monotonic() > deadline:
                    raise
            with self._lock:
                if self._client is client:
                    self._client = None
            SYSTEM_CLOCK.sleep(_AGAIN_SECONDS)

    def connect(self) -> None:
        """UnavailableError: no broker answered in time. InvalidDeclarationError: the broker refuses the credentials."""
        told: list[KafkaError] = []
        probe = AdminClient(self._options.client(error_cb=told.append))
        deadline, seconds = SYSTEM_CLOCK.monotonic() + self._options.connect_seconds, _FIRST_TRY_SECONDS
        while True:
            left = deadline - SYSTEM_CLOCK.monotonic()
            try:
                probe.list_topics(timeout=max(0.1, min(seconds, left)))
            except KafkaException as exception:
                probe.poll(0)  # reports problems between retries
                error = translate(telling(told, error_of(exception)), self.where)
                if left <= seconds or not isinstance(error, UnavailableError):
                    raise error from exception
            else:
                return
            seconds *= 2

    def partitions(self, topic: str) -> int | None:
        """The topic's number of partitions; None: no such topic."""
        known = self._known.get(topic)
        return known if known is not None else self.all_topics().get(topic)

    def all_topics(self) -> dict[str, int]:
        """Every topic under the prefix, with its number of partitions."""
        with translated(self.where):
            listed = self._asked(lambda admin: admin.list_topics(timeout=ANSWER_SECONDS)).topics
        prefix = self._options.prefix
        found = {name: len(topic.partitions) for name, topic in listed.items() if name.startswith(prefix)}
        with self._lock:
            self._known = dict(found)
        return found

    def forget(self) -> None:
        """Forgets cached topic metadata, which may be out of date."""
        with self._lock:
            self._known = {}

    def delete(self, topic: str) -> None:
        """Returns once the broker no longer lists the topic. A missing topic is not an error."""
        try:
            self._asked(lambda admin: _result(admin.delete_topics([topic], request_timeout=ANSWER_SECONDS)[topic]))
        except KafkaException as exception:
            if error_of(exception).code() not in MISSING:
                raise translate(error_of(exception), self.where) from exception
        deadline = SYSTEM_CLOCK.monotonic() + ANSWER_SECONDS
        while topic in self.all_topics():
            if SYSTEM_CLOCK.monotonic() > deadline:
                raise UnavailableError(
                    f"Kafka did not delete {topic} within {ANSWER_SECONDS:.0f} s", where=self.where,
                    next_step="set delete.topic.enable=true on the brokers, then try again",
                )  # fmt: skip
            SYSTEM_CLOCK.sleep(0.01)

    def create(self, topic: str, partitions: int, config: Mapping[str, str]) -> None:
        """Creates it if it does not exist."""
        if self.partitions(topic) is not None:
            return
        made = _admin.NewTopic(topic, partitions, self._options.replication, config=dict(config))
        try:
            self._asked(lambda admin: _result(admin.create_topics([made], request_timeout=ANSWER_SECONDS)[topic]))
        except KafkaException as exception:
            if error_of(exception).code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise translate(error_of(exception), self.where) from exception
        with self._lock:
            self._known[topic] = partitions

    def grow(self, topic: str, partitions: int) -> None:
        """Adds partitions."""
        with translated(self.where):
            wanted = [_admin.NewPartitions(topic, partitions)]
            self._asked(lambda admin: _result(admin.create_partitions(wanted)[topic]))
        self.forget()

    def ends(self, partitions: Sequence[Partition], *, committed: bool = True) -> dict[Partition, int]:
        """Where each partition ends: after the last record or marker that a reader of committed records may pass."""
        level = IsolationLevel.READ_COMMITTED if committed else IsolationLevel.READ_UNCOMMITTED
        return self._offsets(partitions, _admin.OffsetSpec.latest(), level)

    def record_ends(
        self, partitions: Sequence[Partition], still: Callable[[], bool] | None = None
    ) -> dict[Partition, int]:
        """After the last offset that can be a committed record. In a partition written only in transactions, the last offset before the end is
        never a record: a transaction's marker follows its records and is passed together with them. `still` says whether a topic unknown to
        the broker should exist.
        """
        ends = self._offsets(partitions, _admin.OffsetSpec.latest(), IsolationLevel.READ_COMMITTED, still)
        return {place: max(0, end - 1) for place, end in ends.items()}

    def starts(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """The first offset that each partition still holds."""
        return self._offsets(partitions, _admin.OffsetSpec.earliest(), IsolationLevel.READ_UNCOMMITTED)

    def _offsets(
        self,
        partitions: Sequence[Partition],
        spec: object,
        level: IsolationLevel,
        still: Callable[[], bool] | None = None,
    ) -> dict[Partition, int]:
        if not partitions:
            return {}
        wanted: dict[TopicPartition, Any] = {TopicPartition(*one): spec for one in partitions}
        begun = SYSTEM_CLOCK.monotonic()
        while True:
            try:
                return self._asked(lambda admin: _offsets_of(admin, wanted, level))
            except KafkaException as exception:
                error = error_of(exception)
                if SYSTEM_CLOCK.monotonic() > begun + _patience(error):
                    raise translate(error, self.where) from exception
            self.all_topics()  # refreshes the leaders
            if still is not None and not still():
                raise NotFoundError(f"the topic {partitions[0][0]} was deleted")
            SYSTEM_CLOCK.sleep(0.005)

    def committed(self, group: str, partitions: Sequence[Partition] | None = None) -> list[TopicPartition]:
        """A group's committed offsets; of all partitions if none are named.

        Waits for the offsets of a transaction that is just ending. If a transaction hangs because its writer was killed, the offsets
        committed before it count.
        """
        wanted = None if partitions is None else [TopicPartition(*one) for one in partitions]
        deadline = SYSTEM_CLOCK.monotonic() + _SETTLED_SECONDS
        while True:
            stable = SYSTEM_CLOCK.monotonic() < deadline
            with translated(self.where):
                try:
                    found = self._asked(lambda admin, stable=stable: _committed(admin, group, wanted, stable=stable))
                except KafkaException as exception:
                    if error_of(exception).code() in _ENDING:
                        continue
                    raise
            errors = [one.error for one in found if one.error is not None]
            if not errors:
                return [one for one in found if one.offset >= 0]
            if any(error.code() not in _ENDING for error in errors):
                raise translate(errors[0], self.where)
            SYSTEM_CLOCK.sleep(0.001)

    def groups(self) -> list[str]:
        """Every consumer group under the prefix."""
        with translated(self.where):
            listed = self._asked(
                lambda admin: _result(admin.list_consumer_groups(request_timeout=ANSWER_SECONDS))
            ).valid
        return sorted(one.group_id for one in listed if one.group_id.startswith(self._options.prefix))

    def delete_group(self, group: str) -> None:
        """Deletes the group's committed offsets; an unknown group is not an error."""
        try:
            self._asked(
                lambda admin: _result(admin.delete_consumer_groups([group], request_timeout=ANSWER_SECONDS)[group])
            )
        except KafkaException as exception:
            if error_of(exception).code() != KafkaError.GROUP_ID_NOT_FOUND:
                raise translate(error_of(exception), self.where) from exception

    def delete_before(self, offsets: Mapping[Partition, int]) -> None:
        """Deletes every record before an offset, per partition."""
        wanted = [TopicPartition(*one, offset) for one, offset in offsets.items()]
        with translated(self.where):
            self._asked(
                lambda admin: [
                    _result(one) for one in admin.delete_records(wanted, request_timeout=ANSWER_SECONDS).values()
                ]
            )


def _result(future: "Future[Any]") -> Any:
    return future.result(timeout=ANSWER_SECONDS + 5)


def _offsets_of(admin: AdminClient, wanted: dict[TopicPartition, Any], level: IsolationLevel) -> dict[Partition, int]:
    futures = admin.list_offsets(wanted, isolation_level=level, request_timeout=ANSWER_SECONDS)
    return {(key.topic, key.partition): _result(future).offset for key, future in futures.items()}


def _committed(
    admin: AdminClient, group: str, wanted: list[TopicPartition] | None, *, stable: bool
) -> list[TopicPartition]:
    asked = [ConsumerGroupTopicPartitions(group, wanted)]
    request = admin.list_consumer_group_offsets(asked, require_stable=stable, request_timeout=COORDINATOR_SECONDS)
    return _result(request[group]).topic_partitions


def _patience(error: KafkaError) -> float:
    """How long to retry a request for offsets: a new topic has no leader for some milliseconds, and a starting broker needs some seconds to
    learn which partitions it leads.
    """
    if error.code() in MISSING or "No leaders found" in error.str():
        return _ELECTED_SECONDS
    return REQUEST_SECONDS if passes(error) else 0.0
