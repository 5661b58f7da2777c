"""A broker that vanishes, by `kill -9`, and comes back: nothing is lost, nothing is doubled, and meanwhile it is said what is wrong."""

from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest

from headrace.cluster import LocalCluster
from headrace.foundation.clock import SYSTEM_CLOCK
from headrace.foundation.errors import UnavailableError
from headrace.testing.cluster import running, session_cluster
from headrace.testing.kafka_topics import NewTopic, drain, records, row, until

T = TypeVar("T")
PATIENCE_SECONDS = 60


@pytest.fixture
def cluster(kafka_address: str) -> Iterator[LocalCluster]:
    """The broker runs again afterwards."""
    with running(session_cluster("kafka"), ["broker"]) as found:
        assert found.addresses.kafka == kafka_address
        yield found


def tried_again(call: Callable[[], T]) -> T:
    """As a stage does: what may pass is tried again."""
    deadline = SYSTEM_CLOCK.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return call()
        except UnavailableError as error:
            if SYSTEM_CLOCK.monotonic() > deadline:
                raise AssertionError(f"it did not pass in {PATIENCE_SECONDS} s") from error


def test_after_a_kill_of_the_broker_a_source_goes_on_where_it_was_and_a_sink_writes_each_record_once(
    new_topic: NewTopic, cluster: LocalCluster
) -> None:
    read_from, written_to = new_topic(2), new_topic()
    read_from.send([row(n) for n in range(5)])
    source, sink = read_from.source(), written_to.sink()
    before = drain(source)
    sink.write(records([{"n": n} for n in range(3)]))
    sink.prepare()
    sink.publish()
    assert [one["n"] for one in written_to.rows()] == [
        0,
        1,
        2,
    ]  # a lone broker forgets a mark that it has not written yet

    cluster.kill("broker")
    with pytest.raises(UnavailableError, match=r"Kafka: .* — Check that the broker is running and reachable"):
        until(source, 1)
    sink.write(records([{"n": n} for n in range(3, 6)], first=3))
    cluster.start("broker")

    read_from.send([row(n) for n in range(5, 8)], partition=1)
    found: list[int] = []
    while len(found) < 3:
        found += tried_again(lambda: until(source, 1, polls=30).column("n"))
    assert before.column("n") == [0, 1, 2, 3, 4]
    assert found == [5, 6, 7]
    assert tried_again(lambda: drain(read_from.source(before.position))).column("n") == found, "as after a restart"

    prepared = tried_again(sink.prepare)
    sink.publish()
    again = written_to.sink(prepared)
    again.write(records([{"n": 6}], first=6))
    tried_again(again.prepare)
    assert [one["n"] for one in written_to.rows()] == list(range(7))
