"""Topics of other people on a real broker: the ports' conformance, formats, and input that is wrong."""

import json
from collections.abc import Sequence
from contextlib import closing
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from headrace.connectors.registry import open_sink, open_source
from headrace.connectors.sink import Sink, SinkOptions
from headrace.connectors.source import EventTime, Source, SourceBatch, SourceContext, SourceOptions
from headrace.events.row_codec import batch_to_records
from headrace.events.schema import Column, RowSchema
from headrace.foundation.errors import InvalidDeclarationError, NotFoundError, UnavailableError
from headrace.testing.clock import VirtualClock
from headrace.testing.sink_conformance import SinkConformance, sample_records
from headrace.testing.source_conformance import SourceConformance

SCHEMA = RowSchema((Column("at", "TIMESTAMP_LTZ(3)"), Column("n", "BIGINT"), Column("text", "STRING")))
TIME = EventTime("at", out_of_orderness_ms=5_000)


def new_topic(address: str, partitions: int = 1) -> str:
    name = f"foreign-{uuid4().hex[:10]}"
    admin = AdminClient({"bootstrap.servers": address})  # kept until it has answered
    admin.create_topics([NewTopic(name, partitions, 1)])[name].result(30)
    return name


def send(address: str, topic: str, values: Sequence[bytes | None], partition: int = 0) -> None:
    producer = Producer({"bootstrap.servers": address, "message.max.bytes": 64 << 20})
    for number, value in enumerate(values):
        producer.produce(topic, value, b"k", partition, timestamp=1_700_000_000_000 + number)
    assert producer.flush(30) == 0


def message(n: int) -> bytes:
    """Every ninth message is at fault, times go back and forth a little."""
    second = n - n % 3
    at = f"2023-01-01T00:{second // 60:02d}:{second % 60:02d}Z"
    return json.dumps({"at": at, "n": "many" if n % 9 == 4 else n, "text": f"é {n}"}).encode()


def declared(address: str, topic: str, **block: object) -> SourceOptions:
    options = {"bootstrapServers": address, "topic": topic, **block}
    return SourceOptions("default", "things", "kafka", options, schema=SCHEMA, key=("text",), event_time=TIME)


def opened(options: SourceOptions, position: bytes | None = None) -> Source:
    source = open_source(options, SourceContext(clock=VirtualClock()))
    source.open(position)
    return source


def drained(source: Source) -> list[SourceBatch]:
    """Everything that is there now."""
    batches: list[SourceBatch] = []
    for _ in range(200):
        batches.append(source.poll(1_000, 1.0))
        if batches[-1].end or (batches[-1].waiting and source.lag() == 0):
            break
    return batches


def numbers(batches: Sequence[SourceBatch]) -> list[int]:
    return [json.loads(row.value)["n"] for one in batches if one.rows is not None for row in batch_to_records(one.rows)]


def letters(batches: Sequence[SourceBatch]) -> list[str]:
    return [letter.code for one in batches for _, letter in one.dead]


class TestKafkaSource(SourceConformance):
    @pytest.fixture(autouse=True)
    def _topic(self, kafka_address: str) -> None:
        self.address, self.name = kafka_address, new_topic(kafka_address)
        send(self.address, self.name, [message(n) for n in range(60)])

    def make_source(self) -> Source:
        return open_source(declared(self.address, self.name, bounded=True), SourceContext(clock=VirtualClock()))


class TestKafkaSink(SinkConformance):
    @pytest.fixture(autouse=True)
    def _address(self, kafka_address: str) -> None:
        self.address = kafka_address

    def reset(self) -> None:
        self.topic = new_topic(self.address)

    def make_sink(self) -> Sink:
        block = {"bootstrapServers": self.address, "topic": self.topic}
        return open_sink(SinkOptions("default", self.topic, "kafka", block))

    def seen(self) -> list[int]:
        return [json.loads(value)["n"] for value in values(self.address, self.topic)]


def values(address: str, topic: str) -> list[bytes]:
    """Every value of the topic once no transaction is open any more."""
    config = {"bootstrap.servers": address, "group.id": "test", "enable.partition.eof": True, "fetch.wait.max.ms": 20}
    found: list[bytes] = []
    with closing(Consumer({**config, "isolation.level": "read_uncommitted"})) as probe:
        _, high = probe.get_watermark_offsets(TopicPartition(topic, 0), timeout=30)
    with closing(Consumer({**config, "isolation.level": "read_committed"})) as consumer:
        consumer.assign([TopicPartition(topic, 0, 0)])
        while True:
            got = consumer.poll(30)
            assert got is not None
            if not got.error():
                found.append(got.value() or b"")
            elif (got.offset() or 0) >= high:
                return found


def test_poison_messages_become_dead_letters_with_their_place_and_the_others_are_read(kafka_address: str) -> None:
    topic = new_topic(kafka_address)
    send(
        kafka_address,
        topic,
        [message(0), b"not json", None, b"", b"[1]", message(1), b"\xff\xfe", b'{"at": "x"', message(2)],
    )

    batches = drained(opened(declared(kafka_address, topic, bounded=True)))

    assert numbers(batches) == [0, 1, 2]
    assert len(letters(batches)) == 6
    assert "no_value" in letters(batches)
    places = {letter.origin_id for one in batches for _, letter in one.dead}
    assert f"things:{topic}/0@1" in places


def test_a_message_of_20_mb_is_a_dead_letter_and_the_next_is_read(kafka_address: str) -> None:
    topic = new_topic(kafka_address)
    try:
        send(kafka_address, topic, [message(0), b'{"text": "' + b"x" * (20 << 20) + b'"}', message(1)])
    except KafkaException:
        pytest.fail("the broker of the tests takes messages of 32 MB")

    batches = drained(opened(declared(kafka_address, topic, bounded=True)))

    assert numbers(batches) == [0, 1]
    assert letters(batches) == ["too_long"]


def test_it_starts_at_the_earliest_the_latest_a_time_or_offsets(kafka_address: str) -> None:
    topic = new_topic(kafka_address)
    send(kafka_address, topic, [message(n) for n in (0, 1, 2, 3)])
    cases: list[tuple[object, list[int]]] = [
        ("earliest", [0, 1, 2, 3]), ("latest", []), ("2023-11-14T22:13:20.002Z", [2, 3]), ({"0": 1}, [1, 2, 3]),
    ]  # fmt: skip
    for start, expected in cases:
        source = opened(declared(kafka_address, topic, start=start))
        assert numbers(drained(source)) == expected, start
        source.close()


def test_every_partition_is_read_once_also_over_a_restart(kafka_address: str) -> None:
    topic = new_topic(kafka_address, partitions=3)
    for partition in range(3):
        send(kafka_address, topic, [message(partition * 30 + n) for n in (0, 1, 2, 3)], partition)
    options = declared(kafka_address, topic)
    first = opened(options)
    batches = drained(first)
    first.close()
    send(kafka_address, topic, [message(7)], 1)

    again = drained(opened(options, batches[-1].position))

    assert sorted(numbers(batches)) == [0, 1, 2, 3, 30, 32, 33, 60, 61, 62, 63]
    assert numbers(again) == [7]


def test_what_retention_dropped_under_the_reader_is_told_and_reading_goes_on(kafka_address: str) -> None:
    topic = new_topic(kafka_address)
    send(kafka_address, topic, [message(n) for n in (0, 1, 2, 3)])
    options = declared(kafka_address, topic)
    source = opened(options)
    position = source.poll(1, 30).position
    source.close()
    admin = AdminClient({"bootstrap.servers": kafka_address})
    admin.delete_records([TopicPartition(topic, 0, 3)])[TopicPartition(topic, 0)].result(30)

    batches = drained(opened(options, position))

    assert numbers(batches) == [3]
    assert letters(batches) == ["retention_passed"]


def test_a_topic_that_is_missing_or_a_broker_that_is_down_says_so(kafka_address: str) -> None:
    with pytest.raises(NotFoundError, match="create it, or correct spec"):
        opened(declared(kafka_address, "nowhere"))
    with pytest.raises(UnavailableError, match="see that the broker runs"):
        opened(declared("127.0.0.1:1", "things"))


def test_a_sink_that_was_replaced_does_not_write(kafka_address: str) -> None:
    topic = new_topic(kafka_address)
    block = {"bootstrapServers": kafka_address, "topic": topic}
    old, new = (open_sink(SinkOptions("default", topic, "kafka", block)) for _ in range(2))
    old.recover(None)
    old.write(sample_records(2))
    new.recover(None)
    new.write(sample_records(3))
    new.prepare()
    with pytest.raises(Exception, match="another process writes"):
        old.prepare()

    assert [json.loads(value)["n"] for value in values(kafka_address, topic)] == [0, 1, 2]


def test_formats_that_need_a_registry_say_so(kafka_address: str) -> None:
    for form in ("avro", "protobuf"):
        with pytest.raises(InvalidDeclarationError, match="needs a schema registry"):
            opened(declared(kafka_address, "things", format=form))
