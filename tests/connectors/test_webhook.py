"""Records sent to a real server that answers well, badly, late or not at all."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from headrace.connectors.http.sink import WebhookSink
from headrace.connectors.refusal import RefusedRecordsError
from headrace.connectors.sink import Sink, SinkOptions
from headrace.foundation.errors import UnavailableError
from headrace.testing.clock import VirtualClock
from headrace.testing.sink_conformance import SinkConformance, sample_records


class Receiver:
    """Answers as told: `script` holds (status, headers) for the next requests, then 200."""

    def __init__(self) -> None:
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.script: list[tuple[int, dict[str, str]]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.requests.append(({name.lower(): value for name, value in self.headers.items()}, body))
                status, headers = receiver.script.pop(0) if receiver.script else (200, {})
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/hook"

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


def make(receiver: Receiver, clock: VirtualClock, **more: object) -> WebhookSink:
    return WebhookSink(SinkOptions("default", "hook", "webhook", {"url": receiver.url, **more}), clock)


def send(sink: Sink, count: int) -> None:
    sink.recover(None)
    sink.write(sample_records(count))
    sink.prepare()
    sink.publish()


def test_each_record_is_a_request_with_its_id_as_key(receiver: Receiver, clock: VirtualClock) -> None:
    sink = make(receiver, clock, headers={"Authorization": "Bearer secret"}, metadata=True)
    send(sink, 2)
    sink.close()
    assert [json.loads(body)["n"] for _, body in receiver.requests] == [0, 1]
    assert [headers["idempotency-key"] for headers, _ in receiver.requests] == ["row-0", "row-1"]
    assert receiver.requests[0][0]["authorization"] == "Bearer secret"
    assert json.loads(receiver.requests[0][1])["_id"] == "row-0"


def test_batches_are_arrays_with_a_key_that_a_repeat_has_again(receiver: Receiver, clock: VirtualClock) -> None:
    sink = make(receiver, clock, batchRecords=3)
    send(sink, 5)
    send(sink, 5)
    sink.close()
    assert [[row["n"] for row in json.loads(body)] for _, body in receiver.requests] == [[0, 1, 2], [3, 4]] * 2
    keys = [headers["idempotency-key"] for headers, _ in receiver.requests]
    assert keys[:2] == keys[2:]
    assert keys[0] != keys[1]


def test_what_may_pass_is_tried_again_with_growing_pauses(receiver: Receiver, clock: VirtualClock) -> None:
    receiver.script = [(500, {}), (429, {}), (503, {})]
    sink = make(receiver, clock)
    before = clock.monotonic()
    send(sink, 1)
    sink.close()
    assert len(receiver.requests) == 4
    assert len({headers["idempotency-key"] for headers, _ in receiver.requests}) == 1
    assert 1.4 <= clock.monotonic() - before <= 2.1


@pytest.mark.parametrize("header", ["7", "Tue, 14 Nov 2023 22:13:27 GMT"])
def test_retry_after_is_honoured_in_both_forms(receiver: Receiver, clock: VirtualClock, header: str) -> None:
    receiver.script = [(429, {"Retry-After": header})]
    sink = make(receiver, clock)
    before = clock.monotonic()
    send(sink, 1)
    sink.close()
    assert clock.monotonic() - before == pytest.approx(7, abs=0.01)


def test_a_server_that_stays_away_is_unavailable_and_the_records_wait(receiver: Receiver, clock: VirtualClock) -> None:
    receiver.script = [(503, {})] * 1000
    sink = make(receiver, clock, retryFor="30s")
    sink.recover(None)
    sink.write(sample_records(2))
    before = clock.monotonic()
    with pytest.raises(UnavailableError, match="503"):
        sink.prepare()
    assert 30 <= clock.monotonic() - before <= 60
    receiver.script = []
    receiver.requests.clear()
    sink.prepare()
    sink.close()
    assert [json.loads(body)["n"] for _, body in receiver.requests] == [0, 1]


def test_a_connection_that_is_refused_is_unavailable(clock: VirtualClock) -> None:
    gone = Receiver()
    gone.close()
    sink = make(gone, clock, retryFor="1s")
    sink.recover(None)
    sink.write(sample_records(1))
    with pytest.raises(UnavailableError, match="does not answer"):
        sink.prepare()
    sink.close()


def test_a_final_refusal_is_told_with_its_records_once_the_others_are_delivered(
    receiver: Receiver, clock: VirtualClock
) -> None:
    receiver.script = [(200, {}), (422, {}), (200, {})]
    sink = make(receiver, clock)
    sink.recover(None)
    sink.write(sample_records(3))
    with pytest.raises(RefusedRecordsError, match="422") as caught:
        sink.prepare()
    assert [refused.record.id for refused in caught.value.refused] == ["row-1"]
    assert len(receiver.requests) == 3
    sink.prepare()
    sink.close()
    assert len(receiver.requests) == 3


class TestWebhook(SinkConformance):
    exactly_once = False

    @pytest.fixture(autouse=True)
    def _receiver(self, receiver: Receiver) -> None:
        self.receiver = receiver

    def reset(self) -> None:
        self.receiver.requests.clear()

    def make_sink(self) -> Sink:
        return make(self.receiver, VirtualClock())

    def seen(self) -> list[int]:
        return [json.loads(body)["n"] for _, body in self.receiver.requests]

    def test_repeats_carry_the_key_of_the_first_time(self) -> None:
        self._run([4, 4], frozenset({3, 9}))
        keys = {}
        for headers, body in self.receiver.requests:
            assert keys.setdefault(body, headers["idempotency-key"]) == headers["idempotency-key"]
