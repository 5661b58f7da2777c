"""Records sent to a real server that answers well, badly, late or not at all."""

import json
import socket
import threading
from collections.abc import Iterator

import pytest

from headrace.connectors.http.sink import WebhookSink
from headrace.connectors.refusal import (
    ReceiverRejectsError,
    ReceiverRejectsLoginError,
    ReceiverRejectsRequestError,
    RefusedRecordsError,
)
from headrace.connectors.sink import Sink, SinkOptions
from headrace.foundation.errors import UnavailableError
from headrace.testing.clock import VirtualClock
from headrace.testing.resource_ids import connector_id
from headrace.testing.sink_conformance import SinkConformance, sample_records
from headrace.testing.webhook_receiver import WebhookReceiver


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    made = WebhookReceiver()
    yield made
    made.close()


def make(receiver: WebhookReceiver, clock: VirtualClock, **more: object) -> WebhookSink:
    return WebhookSink(SinkOptions(connector_id("hook"), "webhook", {"url": receiver.url, **more}), clock)


def send(sink: Sink, count: int) -> None:
    sink.recover(None)
    sink.write(sample_records(count))
    sink.prepare()
    sink.publish()


def test_each_record_is_a_request_with_its_id_as_key(receiver: WebhookReceiver, clock: VirtualClock) -> None:
    sink = make(receiver, clock, headers={"Authorization": "Bearer secret"}, metadata=True)
    send(sink, 2)
    sink.close()
    assert [json.loads(body)["n"] for _, body in receiver.requests] == [0, 1]
    assert [headers["idempotency-key"] for headers, _ in receiver.requests] == ["row-0", "row-1"]
    assert receiver.requests[0][0]["authorization"] == "Bearer secret"
    assert json.loads(receiver.requests[0][1])["_id"] == "row-0"


def test_batches_are_arrays_with_a_key_that_a_repeat_has_again(receiver: WebhookReceiver, clock: VirtualClock) -> None:
    sink = make(receiver, clock, batchRecords=3)
    send(sink, 5)
    send(sink, 5)
    sink.close()
    assert [[row["n"] for row in json.loads(body)] for _, body in receiver.requests] == [[0, 1, 2], [3, 4]] * 2
    keys = [headers["idempotency-key"] for headers, _ in receiver.requests]
    assert keys[:2] == keys[2:]
    assert keys[0] != keys[1]


def test_what_may_pass_is_tried_again_with_growing_pauses(receiver: WebhookReceiver, clock: VirtualClock) -> None:
    receiver.script = [(500, {}), (429, {}), (503, {})]
    sink = make(receiver, clock)
    before = clock.monotonic()
    send(sink, 1)
    sink.close()
    assert len(receiver.requests) == 4
    assert len({headers["idempotency-key"] for headers, _ in receiver.requests}) == 1
    assert 1.4 <= clock.monotonic() - before <= 2.1


@pytest.mark.parametrize("header", ["7", "Tue, 14 Nov 2023 22:13:27 GMT"])
def test_retry_after_is_honoured_in_both_forms(receiver: WebhookReceiver, clock: VirtualClock, header: str) -> None:
    receiver.script = [(429, {"Retry-After": header})]
    sink = make(receiver, clock)
    before = clock.monotonic()
    send(sink, 1)
    sink.close()
    assert clock.monotonic() - before == pytest.approx(7, abs=0.01)


def test_a_server_that_stays_away_is_unavailable_and_the_records_wait(
    receiver: WebhookReceiver, clock: VirtualClock
) -> None:
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
    gone = WebhookReceiver()
    gone.close()
    sink = make(gone, clock, retryFor="1s")
    sink.recover(None)
    sink.write(sample_records(1))
    with pytest.raises(UnavailableError, match="did not answer"):
        sink.prepare()
    sink.close()


def test_a_final_refusal_is_told_with_its_records_once_the_others_are_delivered(
    receiver: WebhookReceiver, clock: VirtualClock
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


def written(receiver: WebhookReceiver, clock: VirtualClock, count: int, **more: object) -> WebhookSink:
    sink = make(receiver, clock, **more)
    sink.recover(None)
    sink.write(sample_records(count))
    return sink


@pytest.mark.parametrize("status", [401, 402, 403, 407])
def test_a_login_that_is_refused_is_no_fault_of_a_record(
    receiver: WebhookReceiver, clock: VirtualClock, status: int
) -> None:
    receiver.judge = lambda _: status
    sink = written(receiver, clock, 3)
    with pytest.raises(
        ReceiverRejectsLoginError, match=rf"spec.webhook.headers: the server answered {status}"
    ) as caught:
        sink.prepare()
    assert (len(receiver.requests), caught.value.retry_after_seconds) == (1, 30)
    receiver.judge = lambda _: 200
    sink.prepare()
    sink.close()
    assert [json.loads(body)["n"] for _, body in receiver.requests] == [0, 0, 1, 2]


@pytest.mark.parametrize("status", [301, 307, 404, 405, 410, 411, 415, 431])
def test_a_wrong_address_is_no_fault_of_a_record(receiver: WebhookReceiver, clock: VirtualClock, status: int) -> None:
    receiver.judge = lambda _: status
    sink = written(receiver, clock, 3, batchRecords=3)
    with pytest.raises(ReceiverRejectsRequestError, match=rf"spec.webhook.url: the server answered {status}"):
        sink.prepare()
    sink.close()
    assert len(receiver.requests) == 1


def test_an_address_that_is_none_is_told_as_such(clock: VirtualClock) -> None:
    sink = WebhookSink(SinkOptions(connector_id("hook"), "webhook", {"url": "http://[::1"}), clock)
    sink.recover(None)
    sink.write(sample_records(1))
    with pytest.raises(ReceiverRejectsError, match="not valid"):
        sink.prepare()
    sink.close()


@pytest.mark.parametrize("status", [400, 413, 422])
def test_the_record_that_spoils_a_batch_is_found(receiver: WebhookReceiver, clock: VirtualClock, status: int) -> None:
    receiver.judge = lambda body: status if any(row["n"] in (2, 5) for row in json.loads(body)) else 200
    sink = written(receiver, clock, 8, batchRecords=8)
    with pytest.raises(RefusedRecordsError) as caught:
        sink.prepare()
    assert [refused.record.id for refused in caught.value.refused] == ["row-2", "row-5"]
    taken = [row["n"] for _, body in receiver.requests if receiver.judge(body) == 200 for row in json.loads(body)]
    sink.close()
    assert taken == [0, 1, 3, 4, 6, 7]
    assert len(set(receiver.keys)) == len(receiver.keys)


@pytest.mark.parametrize(
    "header", ["999999999", "9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT", "31"], ids=["huge", "endless", "date", "longer"]
)
def test_a_pause_longer_than_the_tries_last_is_not_waited_for(
    receiver: WebhookReceiver, clock: VirtualClock, header: str
) -> None:
    receiver.script = [(503, {"Retry-After": header})]
    sink = written(receiver, clock, 1, retryFor="30s")
    before = clock.monotonic()
    with pytest.raises(UnavailableError, match="503") as caught:
        sink.prepare()
    sink.close()
    assert clock.monotonic() == before
    assert caught.value.retry_after_seconds == (31 if header == "31" else 900)


@pytest.mark.parametrize("header", ["\u00b2", "-5", "soon", "", "Mon, 01 Jan 0001 00:00:00 +2359"])
def test_a_pause_that_makes_no_sense_is_none(receiver: WebhookReceiver, clock: VirtualClock, header: str) -> None:
    receiver.script = [(503, {"Retry-After": header})]
    before = clock.monotonic()
    sink = make(receiver, clock)
    send(sink, 1)
    sink.close()
    assert clock.monotonic() - before < 1


def test_an_answer_that_never_ends_is_left(clock: VirtualClock) -> None:
    """Bytes come faster than any time limit between two of them."""
    listening = socket.create_server(("127.0.0.1", 0))
    ending = threading.Event()

    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            try:
                while not ending.wait(0.01):
                    connection.sendall(b"1\r\nx\r\n")
            except OSError:
                return

    server = threading.Thread(target=serve)
    server.start()
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    sink = WebhookSink(SinkOptions(connector_id("hook"), "webhook", {"url": url, "timeout": "500ms"}), clock)
    try:
        send(sink, 1)
    finally:
        ending.set()
        server.join()
        sink.close()
        listening.close()


class TestWebhook(SinkConformance):
    exactly_once = False

    @pytest.fixture(autouse=True)
    def _receiver(self, receiver: WebhookReceiver) -> None:
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
