"""Where a topic's partitions begin and end, and where a new reader starts."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from headrace.connectors.kafka.client import Told
from headrace.foundation.clock import SYSTEM_CLOCK
from headrace.foundation.errors import InvalidDeclarationError, UnavailableError

Start = str | Mapping[int, int]
CONNECT_SECONDS = 10.0
"""How long to try the first contact; the stage does the retrying."""
ANSWER_SECONDS = 15.0
"""How long to wait for one response."""
_SLICE_SECONDS = 1.0
"""One attempt while connecting: between attempts the client reports its problems."""
_PAUSE_SECONDS = 0.05


class Places:
    """Asks the broker. Errors: UnavailableError, NotFoundError, InvalidDeclarationError."""

    def __init__(self, consumer: Consumer, topic: str, told: Told, serve: Callable[[], object]) -> None:
        """`told`: receives what the client reports on its own while `serve` runs."""
        self._consumer, self._topic, self._told, self._serve = consumer, topic, told, serve

    def partitions(self, seconds: float | None = None) -> list[int]:
        """The topic's current partitions. `seconds`: default CONNECT_SECONDS."""
        deadline = SYSTEM_CLOCK.monotonic() + (CONNECT_SECONDS if seconds is None else seconds)
        while True:
            left = deadline - SYSTEM_CLOCK.monotonic()
            try:
                return self._listed(max(0.1, min(_SLICE_SECONDS, left)))
            except KafkaException as exception:
                self._serve()
                error = self._told.error(exception)
                if not isinstance(error, UnavailableError) or left <= _SLICE_SECONDS:
                    raise error from exception
            SYSTEM_CLOCK.sleep(_PAUSE_SECONDS)

    def _listed(self, seconds: float) -> list[int]:
        """KafkaException: no response in time, or the topic has none to give."""
        topic = self._consumer.list_topics(self._topic, timeout=seconds).topics[self._topic]
        if topic.error is not None:
            raise KafkaException(topic.error)
        if not topic.partitions:  # it is just being created
            raise KafkaException(KafkaError(KafkaError.LEADER_NOT_AVAILABLE))
        return sorted(topic.partitions)

    def bounds(self, partition: int, seconds: float = ANSWER_SECONDS) -> tuple[int, int]:
        """(first offset kept, offset after the last committed message)."""
        try:
            low, high = self._consumer.get_watermark_offsets(TopicPartition(self._topic, partition), timeout=seconds)
        except KafkaException as exception:
            raise self._told.error(exception) from exception
        return low, high

    def starts(self, partitions: Sequence[int], start: Start, *, first: bool) -> Mapping[int, int]:
        """Where to start partitions without a position; one added later (`first` is False) starts at its beginning.

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
                [TopicPartition(self._topic, one, moment) for one in partitions], timeout=ANSWER_SECONDS
            )
        except KafkaException as exception:
            raise self._told.error(exception) from exception
        return {one.partition: one.offset if one.offset >= 0 else self.bounds(one.partition)[1] for one in found}

    def _declared(self, partition: int, start: Mapping[int, int]) -> int:
        low, high = self.bounds(partition)
        offset = start.get(partition, low)
        if not low <= offset <= high:
            raise InvalidDeclarationError(
                f"{self._topic}/{partition} holds offsets {low} to {high}, not {offset}",
                where=f"{self._told.where}: spec.kafka.start", next_step="give an offset in that range, or earliest",
            )  # fmt: skip
        return offset
