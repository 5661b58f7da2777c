"""What the world does to a source and a sink: poison, giants, missing topics, retention, brokers that are not there."""

import pytest

from headrace.connectors.kafka import fetching, places
from headrace.foundation.errors import NotFoundError, UnavailableError
from headrace.testing.kafka_topics import NewTopic, drain, records, row, until
from headrace.testing.ports import free_ports

LARGE = 20 << 20
POISON = {
    1: b"not json", 2: None, 3: b"", 4: b"[1]", 6: b"\xff\xfe", 7: b'{"at": "x"', 8: row(0, n="many"), 9: b"{}",
}  # fmt: skip
"""Values of other people's messages, by offset."""


def test_poison_messages_become_dead_letters_with_place_and_reason_and_the_others_are_read(new_topic: NewTopic) -> None:
    topic = new_topic()
    topic.send([POISON[n] if n in POISON else row(n) for n in range(11)])

    read = drain(topic.source())

    assert read.column("n") == [0, 5, 10]
    assert [letter.origin_id for letter in read.letters] == [f"things:{topic.name}/0@{offset}" for offset in POISON]
    codes = dict(zip(POISON, read.codes, strict=True))
    assert codes == {
        1: "malformed_json", 2: "no_value", 3: "not_readable", 4: "not_an_object", 6: "invalid_utf8", 7: "malformed_json",
        8: "wrong_type", 9: "missing_event_time",
    }  # fmt: skip
    assert "(a tombstone), but a row is expected" in read.letters[1].reason
    assert f"{topic.name}/0@8: column n" in read.letters[6].reason


def test_a_message_of_20_mb_is_a_dead_letter_and_the_next_is_read(new_topic: NewTopic) -> None:
    topic = new_topic()
    topic.send([row(0), row(1, text="x" * LARGE), row(2)])

    read = drain(topic.source())

    assert read.column("n") == [0, 2]
    assert read.codes == ["too_long"]
    assert "the limit is 1048576 (maxRecordBytes)" in read.letters[0].reason
    assert len(read.letters[0].payload) == 64 << 10


def test_a_message_of_20_mb_is_read_where_that_is_allowed(new_topic: NewTopic) -> None:
    topic = new_topic()
    topic.send([row(0), row(1, text="x" * LARGE)])

    read = drain(topic.source(maxRecordBytes=LARGE * 2))

    assert [len(text) for text in read.column("text")] == [3, LARGE]


def test_what_retention_dropped_between_two_lives_is_told_and_reading_goes_on(new_topic: NewTopic) -> None:
    topic = new_topic()
    topic.send([row(n) for n in range(4)])
    position = topic.source().poll(1, 30).position
    topic.drop_before(3)

    read = drain(topic.source(position))

    assert read.column("n") == [3]
    assert read.codes == ["retention_passed"]
    assert f"retention dropped 2 offsets of {topic.name}/0 (1 to 2) before they were read" in read.letters[0].reason


def test_what_retention_dropped_under_a_reader_at_work_is_told_once_and_reading_goes_on(new_topic: NewTopic) -> None:
    topic = new_topic()
    topic.send([row(n, text="x" * (1 << 20)) for n in range(12)])  # each a batch of its own
    one_by_one = {"queued.min.messages": "1", "fetch.message.max.bytes": "1000"}
    source = topic.source(maxRecordBytes=2 << 20, properties=one_by_one)
    before = until(source, 1).column("n")
    topic.drop_before(11)

    read = drain(source)

    seen = [*before, *read.column("n")]
    assert seen == [*range(len(seen) - 1), 11]
    assert read.codes == ["retention_passed"]
    assert f"({len(seen) - 1} to 10) before they were read" in read.letters[0].reason


def test_a_topic_that_is_missing_says_so_and_is_not_made(new_topic: NewTopic) -> None:
    topic = new_topic()
    missing = type(topic)(topic.address, f"{topic.name}-missing")
    for _ in range(2):
        with pytest.raises(NotFoundError, match=r"no such topic.* — Create it, or correct spec\.kafka\.topic"):
            missing.source()
        with pytest.raises(NotFoundError, match=r"no such topic.* — Create it, or correct spec\.kafka\.topic"):
            missing.sink()
    missing.close()


def test_a_topic_that_is_deleted_under_the_reader_says_so(new_topic: NewTopic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "LOOK_SECONDS", 0.2)
    topic = new_topic()
    topic.send([row(0)])
    source = topic.source()
    drain(source)
    topic.delete()

    with pytest.raises(NotFoundError, match=r"no such topic.* — Create it, or correct spec\.kafka\.topic"):
        until(source, 1)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first contact is tried for a short time."""
    monkeypatch.setattr(places, "CONNECT_SECONDS", 1.5)


@pytest.mark.usefixtures("impatient")
def test_a_broker_that_is_down_at_the_start_is_said_with_the_next_step(new_topic: NewTopic) -> None:
    topic = new_topic()
    absent = type(topic)(f"127.0.0.1:{free_ports(1)[0]}", topic.name)
    with pytest.raises(UnavailableError, match=r"StreamConnector/things: Kafka: .* — Check that the broker is running"):
        absent.source()
    sink = absent.sink()  # it is asked again as soon as something is to be written
    sink.write(records([{"n": 0}]))
    with pytest.raises(
        UnavailableError, match=rf"StreamConnector/{topic.name}: Kafka: .* — Check that the broker is running"
    ):
        sink.prepare()
    absent.close()
