"""Fields of Kafka topics as sources and sinks, on a real broker. A broker says nothing at once, so each run waits for what is due."""

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from headrace.events.dead_letter import DeadLetter
from headrace.foundation.clock import SYSTEM_CLOCK

from .case import Case, Elsewhere, Setting
from .house import House
from .sources import FILE, lines_of

IN, OUT = "StreamConnector/in", "StreamConnector/out"
SECONDS = 30.0
PAUSE_SECONDS = 1.0
"""In which a broker gives what it has."""
BROKER = "broker"
"""The key of the address in a house's `extra`; its own client's, and the declared one."""
COLUMNS = [{"name": "n", "type": "BIGINT"}, {"name": "k", "type": "STRING"}, {"name": "h", "type": "STRING"}]


def _declared(house: House) -> dict[str, Any]:
    """Two topics of somebody else's, made when they are first asked for."""
    if "topics" not in house.extra:
        names = [f"foreign-{uuid4().hex[:10]}" for _ in range(2)]
        admin = AdminClient({"bootstrap.servers": house.extra[BROKER]})
        for made in admin.create_topics(
            [NewTopic(name, 1, 1, config={"retention.ms": "-1"}) for name in names]
        ).values():
            made.result(SECONDS)
        house.extra["topics"] = names
    return {"kafka.bootstrapServers": house.extra[BROKER], "kafka.topic": house.extra["topics"][0]}


def on_broker(house: House, address: str) -> None:
    """Declares the broker's address and a topic."""
    house.extra[BROKER] = address
    house.edit(_declared(house))


def _send(house: House, *values: bytes) -> None:
    producer = Producer({"bootstrap.servers": house.extra[BROKER]})
    for topic in house.extra["topics"]:
        for value in values:
            producer.produce(topic, value, b"key", headers=[("a", b"b")])
    assert producer.flush(SECONDS) == 0


def _later(house: House) -> None:
    """Gives the source the time to fetch what is there."""
    SYSTEM_CLOCK.sleep(PAUSE_SECONDS)


def _rows(house: House) -> None:
    first = 2 * house.fed
    _send(house, *(json.dumps({"n": n}).encode() for n in (first, first + 1)))


def _long(house: House) -> None:
    _send(house, json.dumps({"n": house.fed, "text": "x" * 200}).encode())


def _change_events(house: House) -> None:
    """As rows in the first run, as change events in the second."""
    row = {"n": house.fed}
    _send(
        house,
        json.dumps({"op": "c", "before": None, "after": row, "source": {}, "ts_ms": 0} if house.fed else row).encode(),
    )


def values(house: House, column: str = "n") -> list[Any]:
    return [json.loads(one.value).get(column) for one in house.rows("in.events")]


def _letters(house: House) -> list[str]:
    return [one.code for one in house.decoded("in.dead", DeadLetter)]


def _open_source(folder: Path, _: Path) -> House:
    spec = {"type": "kafka", "kafka": {"topic": "later"}, "schema": COLUMNS, "timeline": "event"}
    return House(folder, {IN: spec}, meanwhile=_later)


def _source(path: str, value: Any, see: Any, before: Any, after: Any, feed: Any = _rows, **given: Any) -> Case:
    change = value if callable(value) else {f"kafka.{path}": value}
    return Case("StreamConnector", f"kafka.{path}", Setting(_open_source, feed), change, see, before, after, {f"kafka.{name}": one for name, one in given.items()}, variant="source/kafka", server=True)  # fmt: skip


def _by_name(house: House) -> dict[str, Any]:
    """The same broker under another name."""
    return {"kafka.bootstrapServers": house.extra[BROKER].replace("127.0.0.1", "localhost")}


def _second(house: House) -> dict[str, Any]:
    return {"kafka.topic": house.extra["topics"][1]}


FOUR = [0, 1, 2, 3]
SOURCES = (
    _source("bootstrapServers", _by_name, values, [0, 1], FOUR),
    _source("topic", _second, lambda h: [one.id.partition("/")[0].partition(":")[2] == h.extra["topics"][1] for one in h.rows("in.events")], [False] * 2, [True] * 4),
    _source("format", "debezium", values, [0], [0, 1], _change_events),
    _source("start", "latest", values, [0, 1], FOUR),
    _source("bounded", False, lambda h: (values(h), h.conditions("ingest")["Ingesting"].reason), ([0, 1], "Finished"), (FOUR, "Waiting"), bounded=True),
    _source("keyColumn", "k", lambda h: values(h, "k"), [None] * 2, [None] * 2 + ["key"] * 2),
    _source("headersColumn", "h", lambda h: values(h, "h"), [None] * 2, [None] * 2 + ['{"a":"b"}'] * 2),
    _source("maxRecordBytes", 1_000, lambda h: (values(h), _letters(h)), ([], ["too_long"]), ([1], ["too_long"]), _long, maxRecordBytes=100),
)  # fmt: skip


def _lines(house: House) -> None:
    house.write("in.jsonl", lines_of(house))
    house.write("other.jsonl", [json.dumps({"at": house.clock.now_ms(), "n": 10 * house.fed + n}) for n in (5, 6)])


def seen(house: House, topic: int = 0) -> list[tuple[bytes | None, Any]]:
    """Key and value of each message that the sink has committed."""
    config = {
        "bootstrap.servers": house.extra[BROKER],
        "group.id": "test",
        "enable.partition.eof": True,
        "isolation.level": "read_committed",
    }
    consumer, found = Consumer(config), list[tuple[bytes | None, Any]]()
    consumer.assign([TopicPartition(house.extra["topics"][topic], 0, 0)])
    while (got := consumer.poll(SECONDS)) is not None and not got.error():
        found.append((got.key(), json.loads(got.value() or b"{}")))
    consumer.close()
    return found


def _numbers(house: House) -> list[int]:
    return [value["n"] for _, value in seen(house)]


def _open_sink(folder: Path, _: Path) -> House:
    spec = {"direction": "sink", "type": "kafka", "kafka": {"topic": "later"}, "input": {"streamConnector": "in"}}
    return House(
        folder,
        {OUT: spec, IN: FILE, "StreamConnector/other": {**FILE, "file": {"path": "other.jsonl", "format": "json"}}},
    )


def _sink(path: str, value: Any, see: Any, before: Any, after: Any, feed: Any = _lines, **given: Any) -> Case:
    change = value if callable(value) else {f"kafka.{path}": value}
    return Case("StreamConnector", f"kafka.{path}", Setting(_open_sink, feed), change, see, before, after, {f"kafka.{name}": one for name, one in given.items()}, variant="sink/kafka", server=True)  # fmt: skip


SINKS = (
    _sink("bootstrapServers", _by_name, _numbers, [1, 2], [1, 2, 3, 4]),
    _sink("topic", _second, lambda h: (_numbers(h), [value["n"] for _, value in seen(h, 1)]), ([1, 2], []), ([1, 2], [3, 4])),
    _sink("key", "n", lambda h: [key for key, _ in seen(h)], [None] * 2, [None, None, b"3", b"4"]),
    _sink("metadata", True, lambda h: ["_id" in value for _, value in seen(h)], [False] * 2, [False] * 2 + [True] * 2),
)  # fmt: skip
CASES = (*SOURCES, *SINKS)
INPUT = Case(
    "StreamConnector", "input.streamConnector", Setting(_open_sink, _lines), {"input.streamConnector": "other"}, _numbers,
    [1, 2], [1, 2, 5, 6, 15, 16], server=True,
)  # fmt: skip
"""The offsets of the former input mean nothing in the other, whose first records have smaller ones."""

_FORMATS = "tests/connectors/kafka/test_formats.py::"
_READ, _WRITTEN = (
    f"{_FORMATS}test_an_avro_message_becomes_columns_of_its_schema_s_types",
    f"{_FORMATS}test_a_subject_s_own_avro_schema_is_written_by",
)
_WHY = "schemas are those of a real schema registry"
_LOGIN = "tests/cluster/test_security.py::test_right_credentials_and_certificates_are_let_in_and_others_are_not"
ELSEWHERE = (
    *(
        Elsewhere("StreamConnector", f"kafka.schemaRegistry.{key}", value, _WHY, test, f"{direction}/kafka")
        for direction, test in (("source", _READ), ("sink", _WRITTEN))
        for key, value in (("url", "http://127.0.0.1:2"), ("user", "reader"), ("password", "another"))
    ),
    *(
        Elsewhere(
            "StreamConnector",
            "kafka.properties",
            {"client.id": "another"},
            "a broker that asks for a login",
            _LOGIN,
            f"{direction}/kafka",
        )
        for direction in ("source", "sink")
    ),
    Elsewhere("StreamConnector", "kafka.format", "avro", _WHY, _WRITTEN, "sink/kafka"),
)
