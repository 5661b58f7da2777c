"""Topics of other people on a real broker keep the ports' promises."""

import random

import pytest

from headrace.connectors.registry import open_source
from headrace.connectors.sink import Sink
from headrace.connectors.source import Source, SourceContext
from headrace.testing.clock import VirtualClock
from headrace.testing.kafka_topics import NewTopic, row
from headrace.testing.sink_conformance import SinkConformance
from headrace.testing.source_conformance import SourceConformance


def message(n: int) -> bytes:
    """Every ninth message is at fault, times go back and forth a little."""
    return row(n, n - n % 3, **({"n": "many"} if n % 9 == 4 else {}))


class TestSource(SourceConformance):
    @pytest.fixture(autouse=True)
    def _topic(self, new_topic: NewTopic) -> None:
        self.topic = new_topic()
        self.topic.send([message(n) for n in range(60)])

    def make_source(self) -> Source:
        options = self.topic.options(key=("text",), bounded=True)
        return open_source(options, SourceContext(clock=VirtualClock()))


class TestSourceOfThreePartitions(SourceConformance):
    @pytest.fixture(autouse=True)
    def _topic(self, new_topic: NewTopic) -> None:
        self.topic = new_topic(3)
        rng = random.Random(5)
        for partition in range(3):
            values = [
                b"broken" if n % 11 == 5 else row(partition * 100 + n, n * 3 + rng.randrange(4)) for n in range(25)
            ]
            self.topic.send(values, partition=partition)

    def make_source(self) -> Source:
        return open_source(self.topic.options(bounded=True), SourceContext(clock=VirtualClock()))


class TestSink(SinkConformance):
    @pytest.fixture(autouse=True)
    def _new_topic(self, new_topic: NewTopic) -> None:
        self.new_topic = new_topic

    def reset(self) -> None:
        self.topic = self.new_topic()

    def make_sink(self) -> Sink:
        return self.topic.make_sink()

    def seen(self) -> list[int]:
        return [one["n"] for one in self.topic.rows()]
