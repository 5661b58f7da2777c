"""Sends records to a server as JSON until it accepts them or rejects them for good."""

import ssl
from collections.abc import Sequence
from functools import cache

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_delay, wait_exponential_jitter

from headrace.connectors.http.answer import Verdict, asked_pause, verdict
from headrace.connectors.http.options import SinkOptions as Options
from headrace.connectors.records.outgoing import outgoing_json
from headrace.connectors.refusal import (
    ReceiverRejectsLoginError,
    ReceiverRejectsRequestError,
    Refused,
    RefusedRecordsError,
)
from headrace.connectors.sink import SinkOptions
from headrace.foundation.clock import SYSTEM_CLOCK, Clock
from headrace.foundation.errors import UnavailableError
from headrace.foundation.ids import derive_id
from headrace.foundation.quantities import parse_duration_ms
from headrace.log.record import Record

_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 20.0
_SHOWN_BYTES = 200
_READ_BYTES = 64 << 10
"""Limit for reading a response body; a connection with more data is not reused."""


def open_sink(options: SinkOptions) -> "WebhookSink":
    """Opens a server's URL as a sink."""
    return WebhookSink(options, SYSTEM_CLOCK)


class WebhookSink:
    """See the port. Records are sent at `prepare`, in order; `Idempotency-Key` lets the receiver drop repeats.

    A batch's key is derived from its records, and the stage passes the same records again after a kill, so a batch that
    is sent again has the same key. Responses are handled as follows:

    - 2xx: the records are accepted.
    - 400, 413, 422: the server rejects a record. A batch is halved until that record is found; it is reported as
      RefusedRecordsError once the others are delivered.
    - 408, 409, 423, 425, 429, 5xx, no response in time, no connection: retried, as `Retry-After` requests or with growing
      pauses; UnavailableError after `retryFor`, or if the server requests a longer pause than that.
    - anything else means that we are at fault: 401, 402, 403, 407 ReceiverRejectsLoginError, redirects (which are not followed),
      404 and the rest ReceiverRejectsRequestError. No record is dropped; all of them wait.
    """

    def __init__(self, options: SinkOptions, clock: Clock) -> None:
        self._options = Options.model_validate(dict(options.options))
        self._resource = f"StreamConnector/{options.id.name}"
        self._where = f"{self._resource}: spec.webhook.url"
        self._clock = clock
        self._timeout = parse_duration_ms(self._options.timeout) / 1000
        headers = {name: secret.get_secret_value() for name, secret in self._options.headers.items()}
        self._client = httpx.Client(timeout=self._timeout, headers=headers, verify=_trusted())
        self._waiting: list[Record] = []
        self._refused: list[Refused] = []

    @property
    def names_batches(self) -> bool:
        return self._options.batch_records > 1

    def recover(self, prepared: bytes | None) -> None:  # noqa: ARG002 -- sent records stay sent
        self._waiting.clear()
        self._refused.clear()

    def write(self, records: Sequence[Record]) -> None:
        self._waiting += records

    def prepare(self, *, end: bool = False) -> bytes:  # noqa: ARG002 -- there is nothing to close
        size = self._options.batch_records
        while self._waiting:
            self._deliver(self._waiting[:size])
            del self._waiting[:size]
        if self._refused:
            refused, self._refused = self._refused, []
            message = f"the server refused {len(refused)} records: {refused[0].reason}"
            raise RefusedRecordsError(message, refused, where=self._where)
        return b"{}"

    def publish(self) -> None:
        """Does nothing: `prepare` has sent the records."""

    def close(self) -> None:
        self._client.close()

    def _deliver(self, records: Sequence[Record]) -> None:
        """Sends the records together, in halves if the server rejects one of them."""
        try:
            self._send(records)
        except _RefusalError as refusal:
            if len(records) == 1:
                self._refused.append(Refused(records[0], str(refusal)))
                return
            middle = len(records) // 2
            self._deliver(records[:middle])
            self._deliver(records[middle:])

    def _send(self, records: Sequence[Record]) -> None:
        bodies = [outgoing_json(record, metadata=self._options.metadata) for record in records]
        single = self._options.batch_records == 1
        body = bodies[0] if single else b"[" + b",".join(bodies) + b"]"
        key = records[0].id if single else derive_id(*(part for one in records for part in (one.offset, one.id)))
        retrying = Retrying(
            retry=retry_if_exception_type(UnavailableError),
            stop=_StopAfter(self._clock, parse_duration_ms(self._options.retry_for) / 1000),
            wait=_pause, sleep=self._clock.sleep, reraise=True,
        )  # fmt: skip
        retrying(self._request, body, key)

    def _request(self, body: bytes, key: str) -> None:
        headers = {
            "content-type": "application/json",
            "idempotency-key": key.encode("ascii", "backslashreplace").decode(),
        }
        try:
            with self._client.stream(self._options.method, self._options.url, content=body, headers=headers) as answer:
                self._judge(answer, self._read(answer))
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise ReceiverRejectsRequestError(f"the URL is not valid ({error})", where=self._where) from error
        except httpx.TransportError as error:
            raise UnavailableError(
                f"the server did not answer ({type(error).__name__}: {error})", where=self._where
            ) from error

    def _read(self, answer: httpx.Response) -> bytes:
        """The start of the body: an endless response must not block us."""
        deadline = SYSTEM_CLOCK.monotonic() + self._timeout
        body = bytearray()
        for chunk in answer.iter_raw():
            body += chunk
            if len(body) > _READ_BYTES or SYSTEM_CLOCK.monotonic() >= deadline:
                break
        return bytes(body)

    def _judge(self, answer: httpx.Response, body: bytes) -> None:
        """Returns once the records are accepted."""
        found = verdict(answer.status_code)
        if found is Verdict.TAKEN:
            return
        said = body[:_SHOWN_BYTES].decode(errors="replace").strip()
        reason = f"the server answered {answer.status_code} {answer.reason_phrase}".rstrip() + (
            f": {said}" if said else ""
        )
        pause = asked_pause(answer.headers.get("retry-after"), self._clock)
        match found:
            case Verdict.RECORD:
                raise _RefusalError(reason)
            case Verdict.LOGIN:
                where = f"{self._resource}: spec.webhook.headers"
                raise ReceiverRejectsLoginError(reason, where=where, retry_after_seconds=pause)
            case Verdict.REQUEST:
                raise ReceiverRejectsRequestError(reason, where=self._where, retry_after_seconds=pause)
            case _:
                raise UnavailableError(reason, where=self._where, retry_after_seconds=pause)


@cache
def _trusted() -> ssl.SSLContext:
    """The certificates this machine trusts; loading them takes longer than many a request."""
    return httpx.create_ssl_context()


class _RefusalError(Exception):
    """The server will never accept one of these records."""


class _StopAfter(stop_after_delay):
    """Like tenacity's own, but on Headrace's clock; also stops before a requested pause that would take longer."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        super().__init__(seconds)
        self._clock = clock
        self._started = clock.monotonic()

    def __call__(self, retry_state: RetryCallState) -> bool:
        return self._clock.monotonic() - self._started + (_asked(retry_state) or 0.0) >= self.max_delay


_backoff = wait_exponential_jitter(
    initial=_FIRST_PAUSE_SECONDS, max=_LONGEST_PAUSE_SECONDS, jitter=_FIRST_PAUSE_SECONDS
)


def _asked(state: RetryCallState) -> float | None:
    error = state.outcome.exception() if state.outcome else None
    return error.retry_after_seconds if isinstance(error, UnavailableError) else None


def _pause(state: RetryCallState) -> float:
    """The pause that the server requested, otherwise twice the last one plus some jitter."""
    asked = _asked(state)
    return _backoff(state) if asked is None else asked
