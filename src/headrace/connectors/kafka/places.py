"""Where a topic's partitions begin and end, and where a new reader starts."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from confluent_kafka import Consumer, KafkaException, TopicPartition

from headrace.connectors.kafka.client import error_of, translate
from headrace.foundation.clock import SYSTEM_CLOCK
from headrace.foundation.errors import HeadraceError, InvalidDeclarationError, UnavailableError

Start = str | Mapping[int, int]
CONNECT_SECONDS = 15.0
_SLICE_SECONDS = 1.0
"""One try while connecting: between two, the client says what it has met."""


class Places:
    """Asks the broker. Errors: UnavailableError, NotFoundError, InvalidDeclarationError."""

    def __init__(self, consumer: Consumer, topic: str, where: str, refused: Callable[[], HeadraceError | None]) -> None:
        """`refused`: what the client said of credentials behind our back."""
        self._consumer, self._topic, self._where, self._refused = consumer, topic, where, refused

    def partitions(self, seconds: float = CONNECT_SECONDS) -> list[int]:
        """The topic's partitions as they are now."""
        deadline = SYSTEM_CLOCK.monotonic() + seconds
        while True:
            left = deadline - SYSTEM_CLOCK.monotonic()
            try:
                found = self._consumer.list_topics(self._topic, timeout=max(0.1, min(_SLICE_SECONDS, left)))
                break
            except KafkaException as exception:
                self._consumer.poll(0)  # serves the client's own news; nothing is assigned yet, or it is fetched again
                if (refused := self._refused()) is not None:
                    raise refused from exception
                error = translate(error_of(exception), self._where)
                if not isinstance(error, UnavailableError) or left <= _SLICE_SECONDS:
                    raise error from exception
        topic = found.topics[self._topic]
        if topic.error is not None:
            raise translate(topic.error, self._where)
        return sorted(topic.partitions)

    def bounds(self, partition: int, seconds: float = CONNECT_SECONDS) -> tuple[int, int]:
        """(first offset that is kept, offset behind the last committed message)."""
        try:
            low, high = self._consumer.get_watermark_offsets(TopicPartition(self._topic, partition), timeout=seconds)
        except KafkaException as exception:
            raise translate(error_of(exception), self._where) from exception
        return low, high

    def starts(self, partitions: Sequence[int], start: Start, *, first: bool) -> Mapping[int, int]:
        """Where partitions begin that have no place yet; one that came later (`first` is False) begins at its start.

        `start`: as `Options.start`.
        """
        if not isinstance(start, str) and first:
            return {one: self._declared(one, start) for one in partitions}
        if start == "earliest" or not first:
            return {one: self.bounds(one)[0] for one in partitions}
        if start == "latest" or not isinstance(start, str):
            return {one: self.bounds(one)[1] for one in partitions}
        moment = round(datetime.fromisoformat(start).timestamp() * 1000)
        try:
            found = self._consumer.offsets_for_times(
                [TopicPartition(self._topic, one, moment) for one in partitions], timeout=CONNECT_SECONDS
            )
        except KafkaException as exception:
            raise translate(error_of(exception), self._where) from exception
        return {one.partition: one.offset if one.offset >= 0 else self.bounds(one.partition)[1] for one in found}

    def _declared(self, partition: int, start: Mapping[int, int]) -> int:
        low, high = self.bounds(partition)
        offset = start.get(partition, low)
        if not low <= offset <= high:
            raise InvalidDeclarationError(
                f"{self._topic}/{partition} holds offsets {low} to {high}, not {offset}",
                where=f"{self._where}: spec.kafka.start", next_step="name an offset that is there, or earliest",
            )  # fmt: skip
        return offset
