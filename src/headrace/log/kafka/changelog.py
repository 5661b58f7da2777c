"""An owner's state as a compacted topic, and its view in memory.

One topic per owner, so that an open transaction of one owner never hides another's state. A header holds a value's version.
"""

import threading
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from headrace.log.kafka.broker import COMPACTED, Broker
from headrace.log.kafka.consuming import Consuming
from headrace.log.kafka.options import KafkaOptions
from headrace.log.kafka.wire import escaped
from headrace.log.topic_log import StateEntry

Entries = dict[str, StateEntry]


@dataclass(slots=True)
class _View:
    consumer: Consumer
    entries: Entries = field(default_factory=dict[str, StateEntry])
    read_to: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


class Changelog:
    """The state of every owner. Thread-safe."""

    def __init__(self, options: KafkaOptions, broker: Broker) -> None:
        self._options, self._broker = options, broker
        self._views: dict[str, _View] = {}
        self._lock = threading.Lock()

    def topic(self, owner: str) -> str:
        """The owner's topic on the broker."""
        return f"{self._options.prefix}_state.{escaped(owner)}"

    def ensure(self, owner: str) -> str:
        """Creates the owner's topic if needed; returns its name."""
        topic = self.topic(owner)
        self._broker.create(topic, 1, COMPACTED)
        return topic

    def entries(self, owner: str) -> Entries:
        """The currently committed state."""
        return self.entries_to(owner, self.end(owner))

    def end(self, owner: str) -> int:
        """Where the owner's state currently ends; 0: it has none."""
        topic = self.topic(owner)
        if self._broker.partitions(topic) is None:
            return 0
        return self._broker.record_ends([(topic, 0)])[topic, 0]

    def entries_to(self, owner: str, end: int) -> Entries:
        """The state committed up to `end` or beyond."""
        if end == 0:
            return {}
        topic = self.topic(owner)
        view = self._view(topic)
        with view.lock:
            self._catch_up(topic, view, end)
            return dict(view.entries)

    def change(self, topic: str, key: str, value: bytes | None, version: int) -> dict[str, Any]:
        """The arguments of `Producer.produce` for one write."""
        headers = [("version", b"%d" % version)]
        return {"topic": topic, "partition": 0, "key": key.encode(), "value": value, "headers": headers}

    def close(self) -> None:
        with self._lock:
            views, self._views = list(self._views.values()), {}
        for view in views:
            view.consumer.close()

    def _view(self, topic: str) -> _View:
        with self._lock:
            if topic not in self._views:
                consumer = Consumer(
                    self._options.client(
                        **{
                            "group.id": f"{self._options.prefix}reader", "enable.auto.commit": False,
                            "isolation.level": "read_committed", "enable.partition.eof": True, "auto.offset.reset": "earliest",
                            "queued.max.messages.kbytes": 16_384, "fetch.error.backoff.ms": 20,
                            "fetch.wait.max.ms": 100,
                        }
                    )
                )  # fmt: skip
                consumer.assign([TopicPartition(topic, 0, 0)])
                self._views[topic] = _View(consumer)
            return self._views[topic]

    def _catch_up(self, topic: str, view: _View, end: int) -> None:
        reader = Consuming(view.consumer, topic, self._broker)
        while view.read_to < end:
            for message in reader.take(10_000):
                if message.error() is None:
                    _apply(view.entries, message)
                    view.read_to = (message.offset() or 0) + 1
                else:
                    view.read_to = max(view.read_to, message.offset() or 0)


def _apply(entries: Entries, message: Any) -> None:
    key, value = (message.key() or b"").decode(), message.value()
    if value is None:
        entries.pop(key, None)
    else:
        entries[key] = StateEntry(value, int(dict(message.headers())["version"]))
