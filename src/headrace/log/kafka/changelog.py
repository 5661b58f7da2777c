"""An owner's state as a compacted topic, and its view in memory.

One topic per owner, so that an open transaction of one owner never hides another's state. A value's version lies in a header.

Mostly one process writes an owner's state, and it need not read back what it has written: where nobody can have written in between,
the view takes the changes over, and nothing is fetched until somebody else writes.
"""

import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from headrace.foundation.errors import UnavailableError
from headrace.log.kafka.broker import COMPACTED, REQUEST_SECONDS, Broker
from headrace.log.kafka.errors import END_OF_PARTITION, passes, translate
from headrace.log.kafka.options import KafkaOptions
from headrace.log.kafka.wire import escaped
from headrace.log.topic_log import StateEntry

_POLL_SECONDS = 0.2
Entries = dict[str, StateEntry]


@dataclass(frozen=True, slots=True)
class Change:
    """One write of a key; None deletes it."""

    key: str
    value: bytes | None
    version: int

    def message(self, topic: str) -> dict[str, Any]:
        """The arguments of `Producer.produce`."""
        headers = [("version", b"%d" % self.version)]
        return {"topic": topic, "partition": 0, "key": self.key.encode(), "value": self.value, "headers": headers}


@dataclass(slots=True)
class _View:
    consumer: Consumer
    fetching: bool
    entries: Entries = field(default_factory=dict[str, StateEntry])
    read_to: int = 0
    """Every record before it is in the entries."""
    end: int = 0
    """Where the topic ended when it was asked last."""
    lock: threading.Lock = field(default_factory=threading.Lock)


class Changelog:
    """The state of every owner. Safe from several threads."""

    def __init__(self, options: KafkaOptions, broker: Broker) -> None:
        self._options, self._broker = options, broker
        self._views: dict[str, _View] = {}
        self._lock = threading.Lock()

    def topic(self, owner: str) -> str:
        """The owner's topic on the broker."""
        return f"{self._options.prefix}_state.{escaped(owner)}"

    def ensure(self, owner: str) -> str:
        """Makes the owner's topic where it is missing; gives its name."""
        topic = self.topic(owner)
        self._broker.create(topic, 1, COMPACTED)
        return topic

    def entries(self, owner: str) -> Entries:
        """What is committed at this moment."""
        return self.entries_of([owner])[owner]

    def entries_of(self, owners: Collection[str]) -> dict[str, Entries]:
        """The same of several owners, for one question to the broker."""
        topics = {owner: self.topic(owner) for owner in owners}
        there = [topic for topic in topics.values() if self._broker.partitions(topic) is not None]
        ends = self._broker.ends([(topic, 0) for topic in there])
        found = {topic: self._entries(topic, ends[topic, 0]) for topic in there}
        return {owner: found.get(topic, {}) for owner, topic in topics.items()}

    def _entries(self, topic: str, end: int) -> Entries:
        view = self._view(topic)
        with view.lock:
            self._catch_up(topic, view, end - 1)  # the last offset is a transaction's mark
            view.end = max(view.end, end)
            return dict(view.entries)

    def wrote(self, topic: str, changes: Sequence[Change], first: int, last: int) -> None:
        """Changes that were committed at these offsets, and can be read by everybody."""
        with self._lock:
            view = self._views.get(topic)
        if view is None:
            return
        with view.lock:
            if first != view.end or view.read_to < view.end - 1:
                return  # something else may lie in between
            for change in changes:
                _apply(view.entries, change)
            view.read_to, view.end = last + 1, last + 2
            if view.fetching:
                view.consumer.unassign()
                view.fetching = False

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
                self._views[topic] = _View(consumer, fetching=False)
            return self._views[topic]

    def _catch_up(self, topic: str, view: _View, end: int) -> None:
        waited = 0.0
        if view.read_to < end and not view.fetching:
            view.consumer.assign([TopicPartition(topic, 0, view.read_to)])
            view.fetching = True
        while view.read_to < end:
            messages = view.consumer.consume(10_000, 0) or view.consumer.consume(1, _POLL_SECONDS)
            waited = 0.0 if messages else waited + _POLL_SECONDS
            if waited >= REQUEST_SECONDS:
                raise UnavailableError(
                    f"the state in {topic} did not come for {waited:.0f} s", where=self._broker.where
                )
            for message in messages:
                error = message.error()
                if error is None:
                    offset = message.offset() or 0
                    if offset >= view.read_to:  # what was fetched before the view took changes over is known
                        _apply(view.entries, _change(message))
                        view.read_to = offset + 1
                elif error.code() == END_OF_PARTITION:
                    view.read_to = max(view.read_to, message.offset() or 0)
                elif not passes(error):
                    raise translate(error, self._broker.where)


def _change(message: Any) -> Change:
    return Change((message.key() or b"").decode(), message.value(), int(dict(message.headers())["version"]))


def _apply(entries: Entries, change: Change) -> None:
    if change.value is None:
        entries.pop(change.key, None)
    else:
        entries[change.key] = StateEntry(change.value, change.version)
