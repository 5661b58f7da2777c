"""Avro and Protobuf with a real schema registry: what a sink writes a source reads, and what others' serialisers write."""

import io
import json
import struct
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import fastavro
import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.connectors.kafka import avro, protobuf
from headrace.connectors.kafka.formats import reading
from headrace.connectors.kafka.options import RegistryOptions
from headrace.connectors.kafka.registry import Schema, SchemaRegistry
from headrace.connectors.kafka.wire import UnreadableMessageError
from headrace.connectors.source import EventTime
from headrace.foundation.errors import FinalError, InvalidDeclarationError, UnavailableError
from headrace.testing.kafka_topics import NewTopic, drain, records, row
from headrace.testing.ports import free_ports

ARRIVAL = EventTime(historical=True)
ORDER = {
    "type": "record", "name": "Order", "namespace": "shop", "fields": [
        {"name": "id", "type": "long"},
        {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 4}},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}},
        {"name": "note", "type": ["null", "string"], "default": None},
        {"name": "size", "type": {"type": "enum", "name": "Size", "symbols": ["S", "L"]}},
        {"name": "tags", "type": {"type": "array", "items": "string"}},
        {"name": "buyer", "type": {"type": "record", "name": "Buyer", "fields": [{"name": "name", "type": "string"}]}},
        {"name": "seller", "type": ["null", "Buyer"], "default": None},
        {"name": "proof", "type": "bytes"},
    ],
}  # fmt: skip
JSON_SCHEMA = '{"$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "properties": {}}'
PROTO = """
syntax = "proto3";
package shop;
import "google/protobuf/timestamp.proto";
message Ignored { int32 a = 1; }
message Outer {
  message Order {
    int64 id = 1;
    string note = 2;
    optional double weight = 3;
    google.protobuf.Timestamp at = 4;
    repeated string tags = 5;
    map<string, int64> counts = 6;
    Size size = 7;
    uint64 big = 8;
    bool paid = 9;
    bytes proof = 10;
  }
  enum Size { S = 0; L = 1; }
}
"""


def block(form: str, url: str) -> dict[str, Any]:
    return {"format": form} if form == "json" else {"format": form, "schemaRegistry": {"url": url}}


class Detour:
    """The way to a registry, which can be closed for a while."""

    def __init__(self, url: str) -> None:
        self._path, self._port = httpx.URL(url).path, free_ports(1)[0]
        self._target = url.removesuffix(self._path)
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}{self._path}"

    def open(self) -> None:
        target = self._target

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._hand_on()

            def do_POST(self) -> None:
                self._hand_on()

            def _hand_on(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                sent = {"Content-Type": "application/json"}
                answer = httpx.request(self.command, target + self.path, content=body, headers=sent, trust_env=False)
                self.send_response(answer.status_code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the base class
                """Nothing is printed."""

        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@pytest.fixture
def known(schema_registry: str) -> Iterator[SchemaRegistry]:
    with closing(SchemaRegistry(RegistryOptions(url=schema_registry), "test")) as found:
        yield found


def register(url: str, subject: str, kind: str, schema: str, **more: object) -> int:
    """The id of a schema, with more than the sink itself registers."""
    body = {"schema": schema, "schemaType": kind, **more}
    answer = httpx.post(f"{url}/subjects/{subject}/versions", json=body, trust_env=False)
    assert answer.is_success, answer.text
    return int(answer.json()["id"])


def framed(schema_id: int, body: bytes) -> bytes:
    return struct.pack(">bI", 0, schema_id) + body


def avro_bytes(schema: Any, value: Any) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), value)
    return out.getvalue()


def order(**changed: Any) -> dict[str, Any]:
    return {
        "id": 7, "price": Decimal("12.3400"), "at": datetime(2024, 5, 1, 12, 0, 0, 250_000, UTC), "day": date(2024, 5, 1),
        "note": None, "size": "L", "tags": ["a", "b"], "buyer": {"name": "Ann"}, "seller": {"name": "Bob"}, "proof": b"\x00\xff",
        **changed,
    }  # fmt: skip


def test_an_avro_message_becomes_columns_of_its_schema_s_types(
    new_topic: NewTopic, schema_registry: str, known: SchemaRegistry
) -> None:
    topic = new_topic()
    schema_id = known.register(f"{topic.name}-value", "AVRO", json.dumps(ORDER))
    topic.send([framed(schema_id, avro_bytes(ORDER, order())), framed(schema_id, avro_bytes(ORDER, order(note="é")))])

    source = topic.source(
        schema=None, event_time=EventTime("at", historical=True), format="avro", schemaRegistry={"url": schema_registry}
    )
    read = drain(source)

    assert source.schema is not None
    assert [column.type for column in source.schema.columns] == [
        "BIGINT", "DECIMAL(20, 4)", "TIMESTAMP_LTZ(3)", "DATE", "STRING", "STRING", "ARRAY<STRING>", "STRING", "STRING", "BYTES",
    ]  # fmt: skip
    assert read.letters == []
    first, second = read.rows
    assert first == {
        **order(), "buyer": '{"name":"Ann"}', "seller": '{"name":"Bob"}',
    }  # fmt: skip
    assert second["note"] == "é"


def test_a_newer_avro_schema_is_read_by_its_own_id(
    new_topic: NewTopic, schema_registry: str, known: SchemaRegistry
) -> None:
    topic = new_topic()
    old = {"type": "record", "name": "R", "fields": [{"name": "n", "type": "long"}]}
    new = {**old, "fields": [{"name": "text", "type": "string", "default": ""}, *old["fields"]]}
    ids = [known.register(f"{topic.name}-value", "AVRO", json.dumps(one)) for one in (old, new)]
    topic.send([framed(ids[0], avro_bytes(old, {"n": 1})), framed(ids[1], avro_bytes(new, {"n": 2, "text": "x"}))])

    read = drain(topic.source(schema=None, event_time=ARRIVAL, format="avro", schemaRegistry={"url": schema_registry}))

    assert read.column("n") == [1, 2], "the first message's schema gives the columns"


def test_a_protobuf_message_becomes_columns_also_where_it_is_nested_and_has_defaults(
    new_topic: NewTopic, schema_registry: str, known: SchemaRegistry
) -> None:
    topic = new_topic()
    schema_id = known.register(f"{topic.name}-value", "PROTOBUF", PROTO)
    kind = protobuf.chosen(protobuf.compiled(Schema(schema_id, "PROTOBUF", PROTO)), [1, 0], schema_id)
    full: Any = kind(id=2**53 + 1, note="é", weight=0.5, tags=["a"], counts={"x": 3}, size=1, big=2**63 + 1, paid=True)
    full.at.FromJsonString("2024-05-01T12:00:00.25Z")
    full.proof = b"\x00\xff"
    indexes = b"\x04\x02\x00"  # two of them: 1, 0
    topic.send([framed(schema_id, indexes + one.SerializeToString()) for one in (full, kind())])

    source = topic.source(schema=None, event_time=ARRIVAL, format="protobuf", schemaRegistry={"url": schema_registry})
    read = drain(source)

    assert read.letters == []
    assert read.rows == [
        {
            "id": 2**53 + 1, "note": "é", "weight": 0.5, "at": datetime(2024, 5, 1, 12, 0, 0, 250_000, UTC), "tags": ["a"],
            "counts": '{"x":3}', "size": "L", "big": Decimal(2**63 + 1), "paid": True, "proof": b"\x00\xff",
        },
        {
            "id": 0, "note": "", "weight": None, "at": None, "tags": [], "counts": "{}", "size": "S", "big": Decimal(0),
            "paid": False, "proof": b"",
        },
    ]  # fmt: skip


def test_schemas_that_refer_to_others_are_read(
    new_topic: NewTopic, schema_registry: str, known: SchemaRegistry
) -> None:
    topic = new_topic()
    part = {"type": "record", "name": "Part", "namespace": "shop", "fields": [{"name": "n", "type": "long"}]}
    whole = {"type": "record", "name": "Whole", "namespace": "shop", "fields": [{"name": "part", "type": "shop.Part"}]}
    known.register(f"{topic.name}-part", "AVRO", json.dumps(part))
    reference = {"name": "shop.Part", "subject": f"{topic.name}-part", "version": 1}
    schema_id = register(schema_registry, f"{topic.name}-value", "AVRO", json.dumps(whole), references=[reference])
    inlined = {**whole, "fields": [{"name": "part", "type": part}]}
    topic.send([framed(schema_id, avro_bytes(inlined, {"part": {"n": 5}}))])

    read = drain(topic.source(schema=None, event_time=ARRIVAL, format="avro", schemaRegistry={"url": schema_registry}))

    assert [json.loads(text) for text in read.column("part")] == [{"n": 5}]


@pytest.mark.parametrize("form", ["avro", "protobuf"])
def test_what_a_sink_wrote_is_read_and_messages_beside_it_that_are_not_what_they_say_are_dead_letters(
    new_topic: NewTopic, schema_registry: str, known: SchemaRegistry, form: str
) -> None:
    topic = new_topic()
    json_id = register(schema_registry, f"{topic.name}-j", "JSON", JSON_SCHEMA)
    avro_id = known.register(f"{topic.name}-a", "AVRO", json.dumps(ORDER))
    proto_id = known.register(f"{topic.name}-p", "PROTOBUF", PROTO)
    cut = {"avro": framed(avro_id, b"\x0e"), "protobuf": framed(proto_id, b"\x04\x02\x00" + b"\xff" * 9)}
    poison = {
        b'{"n": 1}': "does not begin with a zero byte and a schema id",
        b"\x00\x00": "does not begin with a zero byte and a schema id",
        framed(2_000_000, b"x"): "the schema registry has no schema 2000000",
        framed(json_id, b"{}"): f"the schema {json_id} is JSON, not {form.upper()}",
        framed(proto_id if form == "avro" else avro_id, b""): f"not {form.upper()}",
        cut[form]: f"it does not match the {form.capitalize()} schema",
        None: "the message has no value (a tombstone), but a row is expected",
    }
    sink = topic.sink(**block(form, schema_registry))
    sink.write(records([{"n": 1, "text": "é"}]))
    sink.prepare()
    topic.send(list(poison))
    sink.write(records([{"n": 2, "text": "è"}], first=1))
    sink.prepare()

    read = drain(topic.source(schema=None, event_time=ARRIVAL, **block(form, schema_registry)))

    assert [(one["n"], one["text"]) for one in read.rows] == [(1, "é"), (2, "è")]
    assert read.codes == ["not_readable"] * 6 + ["no_value"]
    for letter, reason in zip(read.letters, poison.values(), strict=True):
        assert reason in letter.reason
        assert letter.reason.startswith(f"{topic.name}/0@{letter.origin_id.rsplit('@', 1)[1]}: ")


def test_json_is_read_with_a_schema_s_id_in_front_of_it_and_without(new_topic: NewTopic, schema_registry: str) -> None:
    topic = new_topic()
    json_id = register(schema_registry, f"{topic.name}-value", "JSON", JSON_SCHEMA)
    topic.send([framed(json_id, row(0)), row(1), framed(json_id, b""), b"\x00\x00"])

    read = drain(topic.source(event_time=EventTime("at", historical=True)))

    assert read.column("n") == [0, 1]
    assert read.codes == ["not_readable", "not_readable"]


def test_nothing_is_lost_while_the_registry_is_away(new_topic: NewTopic, schema_registry: str) -> None:
    topic, other = new_topic(), new_topic()
    with Detour(schema_registry) as detour:
        given = block("avro", detour.url)
        sink, later = topic.sink(**given), other.sink(**given)
        source = topic.source(schema=None, event_time=ARRIVAL, **given)
        sink.write(records([{"n": n, "text": "x"} for n in range(5)]))
        sink.prepare()
        detour.close()

        reason = rf"schema registry did not answer .* — Check that it is running and reachable at {detour.url}"
        for _ in range(2):
            with pytest.raises(UnavailableError, match=reason):
                drain(source)
            with pytest.raises(UnavailableError, match=reason):
                later.write(records([{"n": n} for n in range(3)]))
        detour.open()
        later.write(records([{"n": n} for n in range(3)]))
        later.prepare()

        assert drain(source).column("n") == [0, 1, 2, 3, 4]
        assert drain(other.source(schema=None, event_time=ARRIVAL, **given)).column("n") == [0, 1, 2]


def test_an_address_that_is_no_registry_is_a_mistake_and_not_a_dead_letter(
    new_topic: NewTopic, schema_registry: str
) -> None:
    topic = new_topic()
    topic.send([framed(1, b"\x02")])
    source = topic.source(
        schema=None, event_time=ARRIVAL, format="avro", schemaRegistry={"url": schema_registry.replace("/v7", "/v99")}
    )
    with pytest.raises(InvalidDeclarationError, match=r"no schema registry found: .* — Correct the url"):
        drain(source)


@pytest.mark.parametrize("form", ["avro", "protobuf"])
def test_a_column_that_comes_later_is_added_to_the_schema(
    new_topic: NewTopic, schema_registry: str, known: SchemaRegistry, form: str
) -> None:
    topic = new_topic()
    given = block(form, schema_registry)
    rows = [{"n": 1}, {"n": 2, "tags": ["a", "b"]}, {"price": "1.50", "ok": True, "share": 0.5}, {"n": 3}]
    sink = topic.sink(**given)
    sink.write(records(rows[:3]))
    prepared = sink.prepare()
    again = topic.sink(prepared, **given)
    again.write(records(rows[3:], first=3))
    again.prepare()

    found = [json.loads(_line(one, known, form)) for one in topic.values()]

    kept = [{name: value for name, value in one.items() if value not in (None, [])} for one in found]
    assert kept == rows
    assert len({struct.unpack(">I", one[1:5]) for one in topic.values()}) == 3


def _line(raw: bytes, known: SchemaRegistry, form: str) -> bytes:
    return reading(form, known).line(raw)


def test_a_subject_s_own_avro_schema_is_written_by(
    new_topic: NewTopic, schema_registry: str, known: SchemaRegistry
) -> None:
    topic = new_topic()
    schema_id = known.register(f"{topic.name}-value", "AVRO", json.dumps(ORDER))
    canonical = {
        **order(), "price": "12.34", "at": "2024-05-01T12:00:00.250Z", "day": "2024-05-01", "proof": b64encode(b"\x00\xff").decode(),
    }  # fmt: skip
    sink = topic.sink(format="avro", schemaRegistry={"url": schema_registry})
    sink.write(records([canonical]))
    with pytest.raises(FinalError, match="does not fit"):
        sink.write(records([{"id": 1}], first=1))
    sink.prepare()

    (raw,) = topic.values()
    assert raw[:5] == framed(schema_id, b"")
    assert fastavro.schemaless_reader(io.BytesIO(raw[5:]), fastavro.parse_schema(ORDER), None) == order()


def test_a_subject_of_another_format_is_refused(
    new_topic: NewTopic, schema_registry: str, known: SchemaRegistry
) -> None:
    topic = new_topic()
    known.register(f"{topic.name}-value", "AVRO", json.dumps(ORDER))
    sink = topic.sink(format="protobuf", schemaRegistry={"url": schema_registry})
    with pytest.raises(InvalidDeclarationError, match="is registered as AVRO"):
        sink.write(records([{"n": 1}]))


@settings(max_examples=300, deadline=None)
@given(body=st.binary(max_size=60))
def test_no_bytes_stop_the_decoder_of_avro(body: bytes) -> None:
    try:
        value = avro.decode(body, avro.parsed(Schema(1, "AVRO", json.dumps(ORDER))), 1)
    except UnreadableMessageError:
        return
    json.dumps(value)


def test_a_pretty_printed_message_keeps_every_digit(new_topic: NewTopic) -> None:
    topic = new_topic()
    topic.send([json.dumps(json.loads(row(1)), indent=2).replace('"n": 1', '"n": 1.10000000000000000001').encode()])

    read = drain(topic.source(schema=None, format="json"))

    assert read.letters == []
    assert len(read.rows) == 1
