"""Topics of several partitions: the order of rows, and partitions that are added or gone."""

import json
import random

import pytest

from headrace.connectors.kafka import fetching
from headrace.connectors.source import EventTime
from headrace.events.origin import decode_origin
from headrace.foundation.errors import NotFoundError
from headrace.testing.clock import VirtualClock
from headrace.testing.kafka_topics import NewTopic, drain, row, until


def test_partitions_are_merged_by_event_time_however_long_each_is(new_topic: NewTopic) -> None:
    topic = new_topic(3)
    for partition in range(3):
        topic.send([row(n, n) for n in range(partition, 9_000, 3)], partition=partition)

    read = drain(topic.source(bounded=True), size=2_000)

    assert read.column("n") == list(range(9_000))


def test_the_order_does_not_depend_on_batches_nor_on_restarts(new_topic: NewTopic) -> None:
    topic = new_topic(2)
    rng = random.Random(3)
    for partition in range(2):
        topic.send([row(n, rng.randrange(300)) for n in range(partition, 300, 2)], partition=partition)
    whole = drain(topic.source(bounded=True)).column("n")

    found: list[int] = []
    position = None
    for size in (1, 50, 7, 100, 30):
        batch = until(topic.source(position, bounded=True), 1, size=size)
        found += batch.column("n")
        position = batch.position
    found += drain(topic.source(position, bounded=True)).column("n")

    assert found == whole
    assert sorted(whole) == list(range(300))


def test_the_same_offset_of_two_partitions_has_two_ids_and_two_origins(new_topic: NewTopic) -> None:
    topic = new_topic(2)
    for partition in range(2):
        topic.send([row(partition)], partition=partition)

    rows = [one.rows for one in drain(topic.source()).batches if one.rows is not None]

    ids = [text for one in rows for text in one.ids.to_pylist()]
    assert ids == [f"things:{topic.name}/{partition}@0" for partition in range(2)]
    origins = [decode_origin(text) for one in rows for text in one.origins.to_pylist()]
    assert [(one.source, one.position) for one in origins] == [(f"things:{topic.name}/{n}", "0") for n in range(2)]


def test_a_partition_that_was_added_is_read_from_its_start(
    new_topic: NewTopic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "LOOK_SECONDS", 0.2)
    topic = new_topic(1)
    topic.send([row(0)])
    source = topic.source(start="latest")
    drain(source)
    topic.grow(3)
    topic.send([row(1)], partition=2)
    topic.send([row(2)], partition=1)

    read = until(source, 2)

    assert sorted(read.column("n")) == [1, 2]
    assert json.loads(read.position)["offsets"] == {"0": 1, "1": 1, "2": 1}


def test_a_partition_that_was_added_while_nobody_read_is_read_from_its_start(new_topic: NewTopic) -> None:
    topic = new_topic(1)
    topic.send([row(0)])
    first = drain(topic.source(start="latest"))
    topic.grow(2)
    topic.send([row(1)], partition=1)

    assert drain(topic.source(first.position, start="latest")).column("n") == [1]


def test_a_source_that_starts_at_the_latest_keeps_its_place_before_the_first_row(new_topic: NewTopic) -> None:
    topic = new_topic(1)
    topic.send([row(0)])
    first = topic.source(start="latest").poll(10, 0.1)
    topic.send([row(1)])

    assert first.state, "a batch with state is committed"
    assert drain(topic.source(first.position, start="latest")).column("n") == [1]


def test_a_partition_that_says_nothing_for_the_idle_timeout_holds_nobody_up(new_topic: NewTopic) -> None:
    topic = new_topic(2)
    topic.send([row(n) for n in range(5)])

    source = topic.source(event_time=EventTime("at", idle_timeout_ms=30_000))

    assert until(source, 5).column("n") == [0, 1, 2, 3, 4]


def test_a_time_stamp_far_ahead_is_a_dead_letter_where_messages_give_the_time(new_topic: NewTopic) -> None:
    topic = new_topic(1)
    clock = VirtualClock()
    topic.send([row(0), row(1)], first_ms=clock.now_ms() - 1_000)
    topic.send([row(2)], first_ms=clock.now_ms() + 3_600_000 - 1_000)

    read = drain(topic.source(event_time=EventTime(), clock=clock))

    assert read.column("n") == [0, 1]
    assert [letter.code for letter in read.letters] == ["ahead_of_clock"]
    stamps = [one.rows.ingested_at.to_pylist() for one in read.batches if one.rows is not None]
    assert {stamp for part in stamps for stamp in part} == {0}, "the log stamps when they arrive"


def test_partitions_that_are_gone_are_said_to_be_those_of_a_topic_that_was_made_anew(new_topic: NewTopic) -> None:
    whole, half = new_topic(2), new_topic(1)
    position = drain(whole.source()).position

    with pytest.raises(
        NotFoundError, match=r"had 2 partitions and now has 1: \[1\] are gone.*Give the connector a new name"
    ):
        half.source(position)


def test_a_topic_that_ends_before_the_place_that_was_read_up_to_was_created_again(new_topic: NewTopic) -> None:
    old, again = new_topic(), new_topic()
    old.send([row(n) for n in range(5)])
    position = drain(old.source()).position
    again.send([row(0)])

    with pytest.raises(
        NotFoundError, match=r"ends at 1 but was read up to 5: the topic was deleted and recreated.*a new name"
    ):
        again.source(position)
