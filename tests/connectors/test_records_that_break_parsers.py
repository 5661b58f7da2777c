"""Whatever a record says, `poll` gives rows and dead letters, and reads on: no record ends its source."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.connectors.files import source as files
from headrace.connectors.http import source as http
from headrace.connectors.http.inbox import RAW, inbox_topic
from headrace.connectors.kafka.formats import JsonFormat
from headrace.connectors.kafka.lanes import NO_TIME, Message
from headrace.connectors.kafka.options import Options as KafkaOptions
from headrace.connectors.kafka.reading import MessageReader
from headrace.connectors.source import EventTime, SourceContext, SourceOptions
from headrace.events.schema import Column, RowSchema
from headrace.foundation.errors import UnavailableError
from headrace.log.record import NewRecord
from headrace.log.registry import open_log
from headrace.log.topic_log import Append, Commit
from headrace.stages.ingest.encoding import encoded
from headrace.testing.clock import VirtualClock
from headrace.testing.resource_ids import connector_id

SCHEMA = RowSchema(
    (
        Column("at", "TIMESTAMP_LTZ(3)"),
        Column("n", "BIGINT"),
        Column("d", "DECIMAL(38, 18)"),
        Column("f", "DOUBLE"),
        Column("day", "DATE"),
        Column("clock", "TIME"),
        Column("raw", "BYTES"),
        Column("list", "ARRAY<DECIMAL(10, 2)>"),
        Column("text", "STRING"),
    )
)
GOOD = b'{"at": "2020-01-01T00:00:00Z", "n": 1, "d": 1.5, "text": "fine"}'
NASTY = (
    "1e-999999999", "1e999999999", "-1e400", "9" * 5_000, "0." + "0" * 5_000 + "1", "18446744073709551616", "NaN", "1e5",
    '"1e-999999999"', '"' + "9" * 5_000 + '"', '"99999-01-01T00:00:00Z"', '"0000-00-00"', '"-0001-01-01"', '"\\ud800"',
    '"\\u0000"', '"25:61:61"', "[1e-999999999]", "[[[]]]", "{}", "true", '""', '"2020-01-01T00:00:00+99:99"', "-0", "1_000",
)  # fmt: skip
SETTINGS = settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
VALUES = st.sampled_from(NASTY) | st.text(max_size=8).map(json.dumps) | st.integers().map(str) | st.floats().map(repr)
OBJECTS = st.dictionaries(st.sampled_from(SCHEMA.names), VALUES, max_size=4).map(
    lambda row: ("{" + ", ".join(f'"{name}": {value}' for name, value in row.items()) + "}").encode()
)
LINES = OBJECTS | st.binary(max_size=40).map(lambda raw: raw.replace(b"\n", b" "))


def options(path: Path, *, schema: RowSchema | None = SCHEMA, **more: Any) -> SourceOptions:
    return SourceOptions(
        connector_id("t"), "file", {"path": str(path), **more}, schema=schema, key=("text",) if schema else ()
    )


def read(source_options: SourceOptions, context: SourceContext | None = None) -> tuple[list[dict[str, Any]], int]:
    """Rows, as they reach the topic, and the number of dead letters."""
    opener = http.open_source if source_options.type == "http" else files.open_source
    source = opener(source_options, context or SourceContext(clock=VirtualClock()))
    source.open(None)
    rows: list[dict[str, Any]] = []
    dead = 0
    for _ in range(1_000):
        batch = source.poll(1_000, 0)
        records, unfit = encoded(batch.rows) if batch.rows is not None else ([], [])
        rows += [json.loads(record.value) for record in records]
        dead += len(batch.dead) + len(unfit)
        if batch.end or batch.waiting:
            break
    source.close()
    return rows, dead


def fine(rows: list[dict[str, Any]]) -> int:
    return sum(row.get("text") == "fine" for row in rows)


@SETTINGS
@given(st.lists(LINES, min_size=1, max_size=5))
def test_json_lines(tmp_path: Path, lines: list[bytes]) -> None:
    (tmp_path / "t.jsonl").write_bytes(b"\n".join([GOOD, *lines, GOOD, b""]))
    rows, dead = read(options(tmp_path / "t.jsonl"))
    assert fine(rows) >= 2
    assert len(rows) + dead == 2 + sum(bool(line.strip()) for line in lines)


@SETTINGS
@given(st.lists(LINES, min_size=1, max_size=5))
def test_json_lines_without_a_schema(tmp_path: Path, lines: list[bytes]) -> None:
    (tmp_path / "t.jsonl").write_bytes(b"\n".join([*lines, GOOD, b""]))
    rows, dead = read(options(tmp_path / "t.jsonl", schema=None))
    assert len(rows) + dead == 1 + sum(bool(line.strip()) for line in lines)


@SETTINGS
@given(st.lists(st.lists(VALUES, min_size=1, max_size=4), min_size=1, max_size=4), st.binary(max_size=30))
def test_csv(tmp_path: Path, records: list[list[str]], raw: bytes) -> None:
    lines = [",".join('"' + cell.replace('"', '""') + '"' for cell in record).encode() for record in records]
    good = b"2020-01-01T00:00:00Z,1,1.5,fine"
    data = b"\n".join([b"at,n,d,text", good, *lines, good, raw.replace(b'"', b"").replace(b"\r", b""), b""])
    for schema in (SCHEMA, None):
        (tmp_path / "t.csv").write_bytes(data)
        rows, _ = read(options(tmp_path / "t.csv", schema=schema))
        assert fine(rows) >= (2 if schema else 0)


@SETTINGS
@given(st.lists(LINES, min_size=1, max_size=4))
def test_change_events(tmp_path: Path, lines: list[bytes]) -> None:
    events = [b'{"op": "c", "after": ' + line + b"}" for line in lines]
    good = b'{"op": "c", "after": ' + GOOD + b"}"
    (tmp_path / "t.jsonl").write_bytes(b"\n".join([good, *events, good, b""]))
    assert fine(read(options(tmp_path / "t.jsonl", envelope="debezium"))[0]) >= 2


@SETTINGS
@given(st.lists(LINES, min_size=1, max_size=4))
def test_pushed_events(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]) -> None:
    log = open_log(tmp_path_factory.mktemp("log"))
    given_options = SourceOptions(connector_id("t"), "http", {}, schema=SCHEMA, event_time=EventTime("at"))
    topic = inbox_topic(given_options)
    log.ensure_topic(topic)
    whole = [line for line in (GOOD, *lines, GOOD) if line.strip()]
    log.commit(Commit([Append(topic.name, [NewRecord(f"t:{n}", RAW, line, 0) for n, line in enumerate(whole)])]))
    rows, dead = read(given_options, SourceContext(log, VirtualClock()))
    log.close()
    assert fine(rows) >= 2
    assert len(rows) + dead == len(whole)


@SETTINGS
@given(st.lists(LINES | st.binary(max_size=40), min_size=1, max_size=4))
def test_messages_of_kafka(lines: list[bytes]) -> None:
    given_options = KafkaOptions.model_validate({"bootstrapServers": "none:1", "topic": "t", "format": "json"})
    reader = MessageReader(
        SourceOptions(connector_id("t"), "kafka", schema=SCHEMA), given_options, JsonFormat(), VirtualClock()
    )
    messages = [Message(0, n, 0, None, line, ()) for n, line in enumerate([GOOD, *lines, GOOD])]
    reader.settle(messages)
    piece = reader.read(messages, NO_TIME)
    assert piece.rows is not None
    records, unfit = encoded(piece.rows)
    assert len(records) + len(unfit) + len(piece.letters) == len(messages)
    assert fine([json.loads(record.value) for record in records]) >= 2


@SETTINGS
@given(moments=st.lists(st.integers(-(2**62), 2**62) | st.integers(0, 2**41), min_size=1, max_size=5))
def test_parquet_with_moments_of_any_year(tmp_path: Path, moments: list[int]) -> None:
    columns = {
        "at": pa.array(moments, pa.timestamp("ms")), "text": ["fine"] * len(moments),
        "day": pa.array([moment % 2**31 for moment in moments], pa.date32()), "n": pa.array(moments, pa.duration("s")),
    }  # fmt: skip
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    for schema in (SCHEMA, None):
        rows, dead = read(options(tmp_path / "t.parquet", schema=schema))
        assert len(rows) + dead == len(moments)


def test_parquet_with_two_columns_of_one_name(tmp_path: Path) -> None:
    table = pa.table([pa.array(["a", "b"]), pa.array([1, 2])], names=["text", "text"])
    pq.write_table(table, tmp_path / "t.parquet")
    for schema in (SCHEMA, None):
        rows, dead = read(options(tmp_path / "t.parquet", schema=schema))
        assert (rows, dead) == ([], 1)


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_a_damaged_file_gives_dead_letters_alone(tmp_path: Path, form: str) -> None:
    (tmp_path / f"t.{form}").write_bytes(b"\x00\xff\xfe\n" * 100)
    rows, dead = read(options(tmp_path / f"t.{form}"))
    assert (rows, dead > 0) == ([], True)


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet", "jsonl.gz"])
def test_a_file_that_cannot_be_read_just_now_is_waited_for(
    tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Permissions do not stop root, so the system's refusal is made."""
    path = tmp_path / f"t.{form}"
    path.write_bytes(b"")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(UnavailableError, match=rf"t.{form} cannot be read: Permission denied"):
        read(options(path))


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet", "jsonl.gz", "csv with a header", "folder"])
def test_an_empty_bounded_source_ends_with_the_schema_that_was_declared(tmp_path: Path, form: str) -> None:
    path = tmp_path / ("t.csv" if " " in form else "*" if form == "folder" else f"t.{form}")
    if form == "parquet":
        pq.write_table(SCHEMA.to_arrow().empty_table(), path)
    elif form == "folder":
        (tmp_path / "a.jsonl").write_bytes(b"")
        (tmp_path / "b.csv").write_bytes(b"")
    else:
        path.write_bytes(b"at,n\n" if " " in form else b"")
    source = files.open_source(options(path), SourceContext(clock=VirtualClock()))
    source.open(None)
    batch = source.poll(10, 0)
    assert (batch.end, batch.rows, list(batch.dead), source.schema) == (True, None, [], SCHEMA)
    source.close()
