"""What a sink writes to a topic: headers, keys, one life told from another, records that Kafka does not take."""

import json
from typing import Any

import pytest

from headrace.connectors.refusal import RefusedRecordsError
from headrace.connectors.sink import Sink
from headrace.foundation.errors import FencedError, FinalError, InvalidDeclarationError
from headrace.testing.kafka_topics import FIRST_MS, NewTopic, Topic, records

SMALL = "20000"
"""A topic's largest batch, in bytes."""


def numbers(topic: Topic) -> list[int]:
    return [one["n"] for one in topic.rows()]


def row(n: int, *, large: bool = False) -> dict[str, object]:
    """A row; a large one has 90 kB that do not compress."""
    return {"n": n, "text": "".join(chr(0x4E00 + (at * at * 7919) % 20_000) for at in range(30_000)) if large else "x"}


def delivered(sink: Sink) -> tuple[bytes, list[str]]:
    """What a stage gets of `prepare`, with the ids of what was refused."""
    refused: list[str] = []
    while True:
        try:
            return sink.prepare(), refused
        except RefusedRecordsError as error:
            refused += [one.record.id for one in error.refused]


def test_a_message_has_the_record_s_id_time_and_declared_key(new_topic: NewTopic) -> None:
    topic = new_topic()
    sink = topic.sink(key="who", metadata=True)
    sink.write(records([{"n": 1, "who": "é"}, {"n": 2, "who": 7}, {"n": 3}]))
    sink.prepare()

    found = topic.seen()

    assert [one.key for one in found] == ["é".encode(), b"7", None]
    assert [one.headers["id"] for one in found] == [b"row-0", b"row-1", b"row-2"]
    assert [one.timestamp for one in found] == [FIRST_MS, FIRST_MS + 1, FIRST_MS + 2]
    assert json.loads(found[0].value)["_id"] == "row-0"


def test_a_new_log_of_the_same_name_writes_all_of_its_records(new_topic: NewTopic) -> None:
    topic = new_topic()
    first = topic.sink()
    first.write(records([{"n": n} for n in range(4)], ingested_at=5))
    first.prepare()

    second = topic.sink()  # nothing is known of the first: its log was removed
    second.write(records([{"n": n} for n in range(10, 12)], ingested_at=6))
    second.prepare()

    assert numbers(topic) == [0, 1, 2, 3, 10, 11]


def test_records_that_were_committed_to_kafka_alone_are_not_written_again_in_other_batches(new_topic: NewTopic) -> None:
    topic = new_topic()
    sink = topic.sink()
    sink.write(records([{"n": n} for n in range(4)]))
    sink.prepare()  # killed here: the log knows nothing of it

    again = topic.sink()
    again.write(records([{"n": n} for n in range(2)]))
    prepared = again.prepare()
    third = topic.sink(prepared)
    third.write(records([{"n": n} for n in range(2, 7)], first=2))
    third.prepare()

    assert numbers(topic) == [0, 1, 2, 3, 4, 5, 6]


def test_a_record_that_is_too_large_for_the_topic_is_refused_alone_also_after_a_kill(new_topic: NewTopic) -> None:
    topic = new_topic(max_message_bytes=SMALL)
    rows = [row(n, large=n == 2) for n in range(6)]
    sink = topic.sink()
    sink.write(records(rows))
    _, refused = delivered(sink)  # killed here

    again = topic.sink()
    again.write(records(rows))
    _, refused_again = delivered(again)

    assert refused == refused_again == ["row-2"]
    assert numbers(topic) == [0, 1, 3, 4, 5]


def test_records_that_are_too_large_only_together_are_all_written_also_after_a_kill(new_topic: NewTopic) -> None:
    topic = new_topic(max_message_bytes="1000")
    rows = [{"n": n, "text": json.dumps([n * 7919 % 104_729, n * n * 31])} for n in range(40)]
    sink = topic.sink()
    sink.write(records(rows))
    sink.prepare()  # killed here

    again = topic.sink()
    again.write(records(rows[:3]))
    prepared, refused = delivered(again)
    again.publish()
    third = topic.sink(prepared)
    third.write(records(rows[3:], first=3))
    third.prepare()

    assert refused == []
    assert numbers(topic) == list(range(40))


def test_a_message_of_20_mb_is_written_where_the_topic_takes_it(new_topic: NewTopic) -> None:
    topic = new_topic(max_message_bytes=str(32 << 20))
    sink = topic.sink()
    sink.write(records([{"n": 0}, {"n": 1, "text": "x" * (20 << 20)}, {"n": 2}]))
    sink.prepare()

    assert [(one["n"], len(one.get("text", ""))) for one in topic.rows()] == [(0, 0), (1, 20 << 20), (2, 0)]


def test_the_same_records_handed_in_twice_are_written_once(new_topic: NewTopic) -> None:
    topic = new_topic()
    sink = topic.sink()
    for count in (3, 5):
        sink.write(records([{"n": n} for n in range(count)]))
    sink.prepare()

    assert numbers(topic) == [0, 1, 2, 3, 4]


def test_a_sink_that_was_replaced_does_not_write(new_topic: NewTopic) -> None:
    topic = new_topic()
    old, new = topic.sink(), topic.make_sink()
    old.write(records([{"n": n} for n in range(2)]))
    new.recover(None)
    new.write(records([{"n": n} for n in range(3)]))
    new.prepare()
    with pytest.raises(FencedError, match="another process is writing"):
        old.prepare()

    assert numbers(topic) == [0, 1, 2]


def test_a_record_that_is_no_object_fits_neither_avro_nor_a_key(new_topic: NewTopic, schema_registry: str) -> None:
    topic = new_topic()
    blocks: list[dict[str, Any]] = [{"format": "avro", "schemaRegistry": {"url": schema_registry}}, {"key": "n"}]
    for block in blocks:
        with pytest.raises(FinalError, match=r"not a JSON object|is not JSON: Expected `object`"):
            topic.sink(**block).write(records([[1]]))


def test_formats_that_need_a_registry_say_so(new_topic: NewTopic) -> None:
    for form in ("avro", "protobuf"):
        with pytest.raises(InvalidDeclarationError, match=r"requires a schema registry — Add schemaRegistry"):
            new_topic().sink(format=form)
        with pytest.raises(InvalidDeclarationError, match=r"requires a schema registry — Add schemaRegistry"):
            new_topic().source(format=form)
