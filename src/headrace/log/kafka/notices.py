"""Notices commits by any process: each commit is followed by a message in a separate topic.

The message is not part of the transaction: it is sent once the commit can be read. If its process dies first, waiters
find out when their wait times out.
"""

import threading

from confluent_kafka import Consumer, Producer, TopicPartition

from headrace.foundation.clock import SYSTEM_CLOCK, Clock
from headrace.log.kafka.broker import KEPT, Broker
from headrace.log.kafka.options import KafkaOptions

_LISTEN_SECONDS = 0.2
_STEP_SECONDS = 0.005
_CONFIG = {**KEPT, "retention.ms": "600000", "segment.ms": "600000", "segment.bytes": str(16 << 20), "message.timestamp.type": "LogAppendTime"}  # fmt: skip


class Notices:
    """Sends and receives commit notices."""

    def __init__(self, options: KafkaOptions, broker: Broker, clock: Clock) -> None:
        self._options, self._broker, self._clock = options, broker, clock
        self._topic = f"{options.prefix}_notices"
        broker.create(self._topic, 1, _CONFIG)
        self._producer = Producer(options.client(**{"linger.ms": 0, "acks": 1}))
        self._threads = threading.local()
        self._heard = threading.Condition()
        self._first = self._end = self._ask()
        self._closed = False
        self._listener: threading.Thread | None = None

    def say(self) -> None:
        """Announces a commit."""
        self._producer.produce(self._topic, b"")
        self._producer.flush(1.0)

    def wait(self, timeout_seconds: float) -> bool:
        """True once any process has committed since this thread's last call; the first call counts from the opening of the log."""
        if self._clock is not SYSTEM_CLOCK:
            return self._wait_by_clock(timeout_seconds)
        if timeout_seconds <= 0:
            return self._take(self._ask())
        self._listen()
        deadline = self._clock.monotonic() + timeout_seconds
        with self._heard:
            while not self._take(self._end) and (left := deadline - self._clock.monotonic()) > 0:
                self._heard.wait(left)
            return self._threads.changed

    def close(self) -> None:
        self._closed = True
        if self._listener is not None:
            self._listener.join(5)

    def _take(self, end: int) -> bool:
        seen = getattr(self._threads, "seen", self._first)
        self._threads.seen = max(seen, end)
        self._threads.changed = end > seen
        return self._threads.changed

    def _ask(self) -> int:
        return self._broker.ends([(self._topic, 0)], committed=False)[self._topic, 0]

    def _wait_by_clock(self, timeout_seconds: float) -> bool:
        """With a virtual clock: polls and sleeps."""
        deadline = self._clock.monotonic() + timeout_seconds
        while not self._take(self._ask()):
            left = deadline - self._clock.monotonic()
            if left <= 0:
                return False
            self._clock.sleep(min(max(_STEP_SECONDS, timeout_seconds / 10), left))
        return True

    def _listen(self) -> None:
        with self._heard:
            if self._listener is None or not self._listener.is_alive():
                self._listener = threading.Thread(target=self._follow, name="headrace-notices", daemon=True)
                self._listener.start()

    def _follow(self) -> None:
        consumer = Consumer(
            self._options.client(
                **{
                    "group.id": f"{self._options.prefix}reader",
                    "enable.auto.commit": False,
                    "auto.offset.reset": "latest",
                }
            )
        )
        consumer.assign([TopicPartition(self._topic, 0, self._end)])
        while not self._closed:
            messages = consumer.consume(1, _LISTEN_SECONDS) + consumer.consume(1_000, 0)
            offsets = [message.offset() or 0 for message in messages if message.error() is None]
            if offsets:
                with self._heard:
                    self._end = max(self._end, offsets[-1] + 1)
                    self._heard.notify_all()
        consumer.close()
