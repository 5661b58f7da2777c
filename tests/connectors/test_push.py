"""Events pushed at the HTTP door: taken in once, durably, with clear refusals."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.connectors.http.inbox import MalformedPushError, accept, inbox_topic, ingest_group
from headrace.connectors.registry import open_source
from headrace.connectors.source import EventTime, SourceContext, SourceOptions
from headrace.doors.push import push_router
from headrace.events.origin import decode_origin
from headrace.events.schema import Column, RowSchema
from headrace.foundation.errors import InvalidDeclarationError
from headrace.log.registry import open_log
from headrace.log.topic_log import Commit, GroupOffset, TopicLog
from headrace.stages.stage import read_statuses
from headrace.testing.clock import VirtualClock
from headrace.testing.resource_ids import connector_id

SCHEMA = RowSchema((Column("at", "TIMESTAMP_LTZ(3)"), Column("n", "BIGINT"), Column("price", "DECIMAL(38, 18)")))
OWN_IDS = SourceOptions(
    connector_id("trades"),
    "http",
    {},
    schema=SCHEMA,
    key=("n",),
    id_columns=("n",),
    event_time=EventTime("at", historical=True),
)
NO_IDS = SourceOptions(connector_id("clicks"), "http", {"maxBodyBytes": 2000, "maxRecordBytes": 200})
URL = "/apis/streams.nstream.ai/v1/namespaces/default/streamconnectors/{}/events"


@pytest.fixture
def log(tmp_path: Path, clock: VirtualClock) -> Iterator[TopicLog]:
    opened = open_log(tmp_path, clock=clock)
    yield opened
    opened.close()


@pytest.fixture
def door(log: TopicLog, clock: VirtualClock) -> Iterator[TestClient]:
    app = FastAPI()
    app.include_router(push_router([OWN_IDS, NO_IDS], log, max_pending=10, clock=clock))
    with TestClient(app) as client:
        yield client


def event(n: int) -> dict[str, object]:
    return {"at": "2024-01-01T00:00:00+02:00", "n": n, "price": 0.1}


def rows_of(options: SourceOptions, log: TopicLog, clock: VirtualClock) -> list[dict[str, object]]:
    source = open_source(options, SourceContext(log=log, clock=clock))
    source.open(None)
    batch = source.poll(100, 0)
    return [] if batch.rows is None else batch.rows.table.to_pylist()


def test_an_object_an_array_and_lines_are_taken_in(door: TestClient, log: TopicLog, clock: VirtualClock) -> None:
    url = URL.format("trades")
    assert door.post(url, json=event(1)).json() == {"accepted": 1, "duplicates": 0}
    assert door.post(url, json=[event(2), event(3)]).json() == {"accepted": 2, "duplicates": 0}
    lines = "\n".join(json.dumps(event(n)) for n in (4, 5)) + "\n\n"
    answer = door.post(url, content=lines, headers={"content-type": "application/x-ndjson; charset=utf-8"})
    assert (answer.status_code, answer.json()) == (202, {"accepted": 2, "duplicates": 0})
    pretty = json.dumps(event(6), indent=2)
    assert door.post(url, content=pretty, headers={"content-type": "application/json"}).status_code == 202
    rows = rows_of(OWN_IDS, log, clock)
    assert [row["n"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert {str(row["price"]) for row in rows} == {"0.100000000000000000"}


def test_a_repeat_with_the_same_id_is_harmless(door: TestClient) -> None:
    url = URL.format("trades")
    assert door.post(url, json=[event(1), event(2)]).json() == {"accepted": 2, "duplicates": 0}
    assert door.post(url, json=[event(2), event(3), event(3)]).json() == {"accepted": 1, "duplicates": 2}


def test_repeats_are_shown_apart_from_what_ingest_counts(door: TestClient, log: TopicLog, clock: VirtualClock) -> None:
    for _ in range(3):
        assert door.post(URL.format("trades"), json=[event(1), event(2)]).status_code == 202
    assert [(one.stage, one.progress) for one in read_statuses(log)] == [("push", {"duplicates": 4})]
    app = FastAPI()
    app.include_router(push_router([OWN_IDS], log, clock=clock))
    with TestClient(app) as again:
        again.post(URL.format("trades"), json=event(2))
    assert [one.progress for one in read_statuses(log)] == [{"duplicates": 5}]


def test_a_repeat_with_the_same_idempotency_key_is_harmless_and_another_key_counts(door: TestClient) -> None:
    url = URL.format("clicks")
    for key, expected in (("a", (2, 0)), ("a", (0, 2)), ("b", (2, 0))):
        answer = door.post(url, json=[{"x": 1}, {"x": 1}], headers={"idempotency-key": key})
        assert (answer.json()["accepted"], answer.json()["duplicates"]) == expected


def test_without_id_and_key_two_pushes_of_the_same_event_both_count(door: TestClient, clock: VirtualClock) -> None:
    url = URL.format("clicks")
    assert door.post(url, json={"x": 1}).json()["accepted"] == 1
    clock.advance(0.01)
    assert door.post(url, json={"x": 1}).json()["accepted"] == 1


def test_a_malformed_request_names_its_lines_and_takes_in_nothing(door: TestClient, log: TopicLog) -> None:
    body = b'{"x": 1}\nnot json\n[1]\n{"x": "\xff"}\n{"x": "' + b"y" * 300 + b'"}\n'
    answer = door.post(URL.format("clicks"), content=body, headers={"content-type": "application/x-ndjson"})
    error = answer.json()["error"]
    assert answer.status_code == 400
    assert [problem["line"] for problem in error["lines"]] == [2, 3, 4, 5]
    assert "maxRecordBytes" in error["lines"][3]["reason"]
    assert log.topic(inbox_topic(NO_IDS).name).end_offset == 0


@pytest.mark.parametrize(
    ("path", "kwargs", "status", "words"),
    [
        ("clicks", {"content": b"", "headers": {"content-type": "application/json"}}, 400, "line 1"),
        ("clicks", {"content": b"[1,", "headers": {"content-type": "application/json"}}, 400, "line 1"),
        ("clicks", {"content": b"[" * 1900, "headers": {"content-type": "application/json"}}, 400, "line 1"),
        ("clicks", {"content": b'{"x": "' + b"y" * 3000 + b'"}', "headers": {"content-type": "application/json"}}, 413, "maxBodyBytes"),
        ("clicks", {"content": b"<x/>", "headers": {"content-type": "text/xml"}}, 415, "application/x-ndjson"),
        ("clicks", {"content": b"{}", "headers": {"content-type": "application/json", "content-encoding": "br"}}, 415, "br"),
        ("nothing", {"json": {}}, 404, "default/clicks"),
    ],
)  # fmt: skip
def test_refusals_say_what_is_wrong(
    door: TestClient, path: str, kwargs: dict[str, object], status: int, words: str
) -> None:
    answer = door.post(URL.format(path), **kwargs)
    assert answer.status_code == status
    assert words in answer.json()["error"]["message"]


def test_back_pressure_is_a_429_until_ingest_has_read(door: TestClient, log: TopicLog) -> None:
    url, topic = URL.format("trades"), inbox_topic(OWN_IDS).name
    assert door.post(url, json=[event(n) for n in range(10)]).status_code == 202
    refused = door.post(url, json=event(10))
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1
    log.commit(Commit(offsets=[GroupOffset(ingest_group(OWN_IDS), topic, 5)]))
    assert door.post(url, json=event(10)).status_code == 202


def test_pushes_at_once_are_all_on_disk_when_they_are_answered(
    tmp_path: Path, door: TestClient, log: TopicLog, clock: VirtualClock
) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: door.post(URL.format("trades"), json=event(n)), range(8)))
    assert {answer.status_code for answer in answers} == {202}
    again = open_log(tmp_path, clock=clock)
    assert sorted(row["n"] for row in rows_of(OWN_IDS, again, clock)) == list(range(8))
    again.close()


def test_an_event_that_does_not_fit_is_a_dead_letter_of_ingest(
    door: TestClient, log: TopicLog, clock: VirtualClock
) -> None:
    door.post(URL.format("trades"), json=[event(1), {**event(2), "price": "dear"}, {"at": None, "n": 3}, event(4)])
    source = open_source(OWN_IDS, SourceContext(log=log, clock=clock))
    source.open(None)
    assert source.lag() == 4
    batch = source.poll(100, 0)
    assert batch.rows is not None
    assert batch.rows.ids.to_pylist() == ["trades:1", "trades:4"]
    assert batch.rows.ingested_at.to_pylist() == [clock.now_ms()] * 2
    assert decode_origin(batch.rows.origins[1].as_py()).offset == 3
    assert batch.rows.offsets.to_pylist() == [0, 3]
    assert [(letter.code, letter.source_offset, letter.origin_id) for _, letter in batch.dead] == [
        ("wrong_type", 1, "trades:2"),
        ("missing_event_time", 2, "trades:3"),
    ]
    assert source.lag() == 0
    assert source.poll(100, 0).waiting


def test_a_schema_is_inferred_from_the_first_events(door: TestClient, log: TopicLog, clock: VirtualClock) -> None:
    source = open_source(NO_IDS, SourceContext(log=log, clock=clock))
    source.open(None)
    assert source.schema is None
    door.post(URL.format("clicks"), json=[{"x": 1, "who": "me"}, {"x": 2.5}])
    source.poll(10, 0)
    assert source.schema == RowSchema((Column("x", "DOUBLE"), Column("who", "STRING")))


def test_an_http_source_without_a_log_says_so() -> None:
    with pytest.raises(InvalidDeclarationError, match="requires a log"):
        open_source(NO_IDS, SourceContext())


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=40) | st.text(alphabet='{}[]":,1a \n', max_size=40).map(str.encode), lines=st.booleans())
def test_any_body_is_taken_in_as_lines_of_json_or_refused(body: bytes, lines: bool) -> None:
    kind = "application/x-ndjson" if lines else "application/json"
    try:
        records = accept(NO_IDS, body, kind, "key", 0)
    except MalformedPushError:
        return
    assert all(b"\n" not in record.value and isinstance(json.loads(record.value), dict) for record in records)
    again = accept(NO_IDS, body, kind, "key", 5)
    assert [record.id for record in records] == [record.id for record in again]
