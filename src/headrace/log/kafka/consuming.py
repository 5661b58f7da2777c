"""Fetches the next messages of one partition, and bounds how long a reader waits."""

from typing import Any

from confluent_kafka import Consumer

from headrace.foundation.errors import UnavailableError
from headrace.log.kafka.broker import REQUEST_SECONDS, Broker
from headrace.log.kafka.errors import END_OF_PARTITION, missing, passes, translate

_POLL_SECONDS = 0.2
_LOOK_POLLS = 5
"""After this many empty polls, check whether the topic still exists: the client reports that only after half a minute."""


class Consuming:
    """One reader's wait for records that exist."""

    def __init__(self, consumer: Consumer, topic: str, broker: Broker) -> None:
        self._consumer, self._topic, self._broker = consumer, topic, broker
        self._empty = 0

    def take(self, most: int) -> list[Any]:
        """Up to `most` messages: records, and end-of-partition markers (`error()` is not None). Empty: none arrived within 0.2 s.

        UnavailableError: nothing arrived for 30 s. NotFoundError: the topic was deleted.
        """
        messages = self._consumer.consume(most, 0) or self._consumer.consume(1, _POLL_SECONDS)
        if not messages:
            self._lost_patience()
            return []
        self._empty = 0
        return [message for message in messages if self._counts(message)]

    def _counts(self, message: Any) -> bool:
        error = message.error()
        if error is None or error.code() == END_OF_PARTITION:
            return True
        if passes(error):
            return False
        raise translate(error, self._broker.where)

    def _lost_patience(self) -> None:
        self._empty += 1
        if self._empty % _LOOK_POLLS == 0 and self._topic not in self._broker.all_topics():
            raise missing(self._topic, self._broker.where)
        if self._empty * _POLL_SECONDS >= REQUEST_SECONDS:
            raise UnavailableError(
                f"no record of {self._topic} arrived for {REQUEST_SECONDS:.0f} s",
                where=self._broker.where,
                next_step="Check that the broker is running and reachable.",
            )
