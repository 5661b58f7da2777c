"""Debezium's change events through the sources that take them."""

import json
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.connectors.files.options import Options
from headrace.connectors.http.inbox import accept, inbox_topic
from headrace.connectors.records.debezium import DebeziumLines, NotAnEnvelopeError, flatten
from headrace.connectors.records.json_lines import JsonLines
from headrace.connectors.registry import open_source
from headrace.connectors.source import Source, SourceContext, SourceOptions
from headrace.events.schema import Column, RowSchema
from headrace.log.registry import open_log
from headrace.log.topic_log import Append, Commit, TopicLog
from headrace.testing.clock import VirtualClock
from headrace.testing.resource_ids import connector_id
from headrace.testing.source_conformance import SourceConformance

SCHEMA = RowSchema(
    (Column("path", "STRING"), Column("body", "STRING"), Column("operation", "STRING"), Column("ts_ms", "BIGINT"))
)


def event(op: str, before: Any = None, after: Any = None, **more: Any) -> dict[str, Any]:
    return {"before": before, "after": after, "op": op, "ts_ms": 7, "source": {"lsn": 1}, **more}


def flat(value: Any) -> Any:
    found = flatten(json.dumps(value).encode())
    return None if found is None else json.loads(found)


OLD, NEW = {"path": "a", "body": "Old."}, {"path": "a", "body": "New."}


@pytest.mark.parametrize(
    ("given_event", "row"),
    [
        (event("c", None, NEW), {**NEW, "operation": "create", "ts_ms": 7}),
        (event("u", OLD, NEW), {**NEW, "operation": "update", "ts_ms": 7}),
        (event("r", None, NEW), {**NEW, "operation": "read", "ts_ms": 7}),
        (event("d", OLD, None), {**OLD, "operation": "delete", "ts_ms": 7}),
        (event("c", None, {**NEW, "ts_ms": 3, "operation": "x"}), {**NEW, "operation": "create", "ts_ms": 3}),
        ({"schema": None, "payload": event("u", OLD, NEW)}, {**NEW, "operation": "update", "ts_ms": 7}),
        ({"key": {"path": "a"}, "value": event("d")}, {"path": "a", "operation": "delete", "ts_ms": 7}),
        ({"key": {"path": "a"}, "value": None}, {"path": "a", "operation": "delete"}),
        ({"key": {"schema": {}, "payload": {"path": "a"}}, "value": None}, {"path": "a", "operation": "delete"}),
        ({"key": {"path": "a"}, "value": {"schema": {}, "payload": None}}, {"path": "a", "operation": "delete"}),
        ({"key": "a", "value": event("c", None, NEW)}, {**NEW, "operation": "create", "ts_ms": 7}),
        ({"key": None, "value": None}, None),
        ({"schema": {}, "payload": None}, None),
        (None, None),
    ],
)
def test_an_event_becomes_its_row(given_event, row):
    assert flat(given_event) == row


@pytest.mark.parametrize(
    ("record", "code"),
    [
        (b"{", "malformed_json"),
        (b"\xff", "malformed_json"),
        (b"[1]", "not_an_envelope"),
        (b'{"path": "a"}', "not_an_envelope"),
        (b'{"op": "c", "after": 5}', "not_an_envelope"),
        (b'{"op": "c", "after": null}', "not_an_envelope"),
        (b'{"op": "d", "before": null}', "not_an_envelope"),
        (b'{"op": "t"}', "unknown_operation"),
        (b'{"op": 5}', "unknown_operation"),
        (b'{"payload": ' + b"[" * 100_000, "malformed_json"),
    ],
)
def test_what_is_no_event_says_why(record, code):
    with pytest.raises(NotAnEnvelopeError) as caught:
        flatten(record)
    assert caught.value.code == code


def typed(name: str, value: Any, **parameters: str) -> Any:
    column = {"field": "x", "type": "any", "name": name, "parameters": parameters}
    schema = {"type": "struct", "fields": [{"field": "after", "type": "struct", "fields": [column]}]}
    return flat({"schema": schema, "payload": event("c", None, {"x": value})})["x"]


def test_a_schema_tells_dates_times_and_decimals():
    assert typed("io.debezium.time.Date", 19_783) == "2024-03-01"
    assert typed("io.debezium.time.Timestamp", 1_709_294_400_123) == "2024-03-01T12:00:00.123000"
    assert typed("io.debezium.time.MicroTimestamp", 1_709_294_400_123_456) == "2024-03-01T12:00:00.123456"
    assert typed("io.debezium.time.NanoTimestamp", 1_709_294_400_123_456_789) == "2024-03-01T12:00:00.123456"
    assert typed("io.debezium.time.ZonedTimestamp", "2024-03-01T12:00:00Z") == "2024-03-01T12:00:00Z"
    unscaled = b64encode((-12_345).to_bytes(2, "big", signed=True)).decode()
    assert typed("org.apache.kafka.connect.data.Decimal", unscaled, scale="2") == "-123.45"
    assert typed("io.debezium.time.Date", None) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("io.debezium.time.Date", 10**12),
        ("org.apache.kafka.connect.data.Decimal", "not base64!"),
        ("io.debezium.time.Timestamp", 10**18),
    ],
)
def test_a_value_that_is_not_of_its_type_is_at_fault(name, value):
    with pytest.raises(NotAnEnvelopeError, match="column x") as caught:
        typed(name, value)
    assert caught.value.code == "wrong_type"


lines = st.lists(
    st.sampled_from(
        [b"", b"null", b"{", b'{"op": "t"}', b'{"op": "c", "after": {"path": 1, "ts_ms": "x"}}']
        + [
            json.dumps(one).encode()
            for one in (event("c", None, NEW), event("d", OLD), {"payload": event("u", OLD, NEW)})
        ]
    ),
    max_size=12,
)


@given(lines, st.booleans())
def test_each_line_is_a_row_or_a_reject_at_its_place(given_lines, final):
    data = b"\n".join(given_lines)
    block = DebeziumLines(JsonLines(SCHEMA, 1_000), 1_000).parse(data, final=final)
    whole = given_lines if final else given_lines[:-1]
    records = [(number, line) for number, line in enumerate(whole, 1) if line not in (b"", b"null")]
    assert block.lines.tolist() == [number for number, _ in records]
    assert [block.raw(index) for index in range(block.count)] == [line for _, line in records]
    bad = [index for index, (_, line) in enumerate(records) if line in (b"{", b'{"op": "t"}') or b'"x"' in line]
    assert [reject.index for reject in block.rejects] == bad
    assert block.table.num_rows == len(records) - len(bad)
    assert block.table.column("path").to_pylist() == ["a"] * block.table.num_rows


class DebeziumSuite(SourceConformance):
    """Forty events, some of them at fault."""

    @pytest.fixture(autouse=True)
    def _events(self, tmp_path: Path) -> Iterator[None]:
        self.folder = tmp_path
        events = [event("cudr"[n % 4], {"path": f"p{n}"}, {"path": f"p{n}", "body": "x"}) for n in range(40)]
        events[7] = {"no": "event"}
        self.events = [json.dumps(one) for one in events]
        self.prepare()
        yield
        self.finish()

    def prepare(self) -> None:
        raise NotImplementedError

    def finish(self) -> None:
        """Nothing is open."""


class TestDebeziumFile(DebeziumSuite):
    def prepare(self) -> None:
        (self.folder / "changes.jsonl").write_text("\n".join([*self.events[:20], "null", "", *self.events[20:]]) + "\n")

    def make_source(self) -> Source:
        block = {"path": str(self.folder / "changes.jsonl"), "envelope": "debezium"}
        options = SourceOptions(connector_id("docs"), "file", block, schema=SCHEMA, key=("path",), id_columns=("path",))
        return open_source(options, SourceContext(None, VirtualClock()))

    def test_its_schema_can_be_inferred(self) -> None:
        block = {"path": str(self.folder / "changes.jsonl"), "envelope": "debezium"}
        source = open_source(SourceOptions(connector_id("docs"), "file", block), SourceContext(None, VirtualClock()))
        source.open(None)
        assert source.schema is not None
        assert source.schema.names == ("path", "body", "ts_ms", "operation")
        source.close()


class TestDebeziumPush(DebeziumSuite):
    log: TopicLog

    def prepare(self) -> None:
        clock = VirtualClock()
        self.options = SourceOptions(
            connector_id("docs"), "http", {"envelope": "debezium"}, schema=SCHEMA, id_columns=("path",)
        )
        self.log = open_log(self.folder, clock=clock)
        topic = inbox_topic(self.options)
        self.log.ensure_topic(topic)
        body = "\n".join([*self.events, '{"payload": null}']).encode()
        records = accept(self.options, body, "application/x-ndjson", "key", clock.now_ms())
        self.log.commit(Commit(appends=[Append(topic.name, records)]))

    def finish(self) -> None:
        self.log.close()

    def make_source(self) -> Source:
        return open_source(self.options, SourceContext(self.log, VirtualClock()))


def test_an_envelope_comes_in_json():
    assert Options.model_validate({"path": "a", "envelope": "debezium"}).envelope == "debezium"
    with pytest.raises(ValueError, match="requires format json, not csv"):
        Options.model_validate({"path": "a", "format": "csv", "envelope": "debezium"})
