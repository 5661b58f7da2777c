"""A source over a foreign topic: where it starts, columns from keys and headers, transactions, change events."""

import json

import pytest
from confluent_kafka import Producer

from headrace.connectors.source import EventTime
from headrace.events.schema import Column, RowSchema
from headrace.foundation.errors import InvalidDeclarationError
from headrace.testing.kafka_topics import SCHEMA, NewTopic, drain, row, until

ARRIVAL = EventTime(historical=True)


def test_keys_and_headers_become_columns(new_topic: NewTopic) -> None:
    topic = new_topic()
    topic.send([row(0), b"{}"], key="é".encode(), headers=[("trace", b"7"), ("none", None)])
    topic.send([row(1)], key=None)
    added = RowSchema((*SCHEMA.columns, Column("who", "STRING"), Column("told", "STRING")))

    declared = drain(topic.source(schema=added, event_time=ARRIVAL, keyColumn="who", headersColumn="told"))
    inferred = drain(topic.source(schema=None, event_time=ARRIVAL, keyColumn="who", headersColumn="told"))

    for read in (declared, inferred):
        assert read.letters == []
        assert read.column("who") == ["é", "é", None]
        assert [json.loads(text) for text in read.column("told")] == [{"trace": "7", "none": None}] * 2 + [{}]
        assert read.column("n") == [0, None, 1]


def test_a_key_column_that_the_schema_does_not_have_is_a_mistake(new_topic: NewTopic) -> None:
    with pytest.raises(InvalidDeclarationError, match=r"no column 'who'"):
        new_topic().source(keyColumn="who")


def test_a_first_message_that_cannot_be_read_does_not_decide_the_schema(new_topic: NewTopic) -> None:
    topic = new_topic()
    topic.send([b"broken", None, b" ", b"[]", b"{}"])
    source = topic.source(schema=None, event_time=ARRIVAL)
    first = drain(source)
    topic.send([row(1)])

    assert [letter.code for letter in first.letters] == [
        "malformed_json",
        "no_value",
        "not_readable",
        "not_an_object",
        "no_columns",
    ]
    assert until(source, 1).column("n") == [1]


def test_only_what_was_committed_is_read_and_a_source_comes_to_rest_behind_an_abort(new_topic: NewTopic) -> None:
    topic = new_topic()
    producer = Producer({"bootstrap.servers": topic.address, "transactional.id": topic.name})
    producer.init_transactions(30)
    for number, commit in enumerate((True, False, True, False)):
        producer.begin_transaction()
        producer.produce(topic.name, row(number))
        if commit:
            producer.commit_transaction(30)
        else:
            producer.abort_transaction(30)

    assert drain(topic.source()).column("n") == [0, 2]
    bounded = drain(topic.source(bounded=True))
    assert bounded.column("n") == [0, 2]
    assert bounded.batches[-1].end


def test_a_deleted_row_of_debezium_has_the_columns_of_its_key_and_its_tombstone_says_nothing(
    new_topic: NewTopic,
) -> None:
    topic = new_topic()
    schema = RowSchema((Column("id", "BIGINT"), Column("name", "STRING"), Column("operation", "STRING")))
    key = json.dumps({"id": 5}).encode()
    made = {"op": "c", "before": None, "after": {"id": 5, "name": "x"}, "ts_ms": 1}
    gone = {"op": "d", "before": None, "after": None, "ts_ms": 2}
    topic.send([json.dumps(made).encode(), json.dumps(gone, indent=1).encode(), None, b"null", b"{}"], key=key)

    read = drain(topic.source(schema=schema, event_time=ARRIVAL, format="debezium"))

    assert [(one["id"], one["name"], one["operation"]) for one in read.rows][:2] == [
        (5, "x", "create"),
        (5, None, "delete"),
    ]
    assert [letter.code for letter in read.letters] == ["not_an_envelope"]


def test_an_offset_that_was_never_there_is_a_mistake(new_topic: NewTopic) -> None:
    topic = new_topic()
    topic.send([row(0)])
    with pytest.raises(InvalidDeclarationError, match="holds offsets 0 to 1, not 9"):
        topic.source(start={"0": 9})


def test_it_starts_at_the_earliest_the_latest_a_time_or_offsets(new_topic: NewTopic) -> None:
    topic = new_topic()
    topic.send([row(n) for n in range(4)])
    cases: list[tuple[object, list[int]]] = [
        ("earliest", [0, 1, 2, 3]), ("latest", []), ("2023-11-14T22:13:20.002Z", [2, 3]), ({"0": 1}, [1, 2, 3]),
    ]  # fmt: skip
    for start, expected in cases:
        assert drain(topic.source(start=start)).column("n") == expected, start
