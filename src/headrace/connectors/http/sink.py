"""Sends records to a server as JSON, until it takes them or refuses them for good."""

import ssl
from collections.abc import Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import cache

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_delay, wait_exponential_jitter

from headrace.connectors.http.options import SinkOptions as Options
from headrace.connectors.records.outgoing import outgoing_json
from headrace.connectors.refusal import Refused, RefusedRecordsError
from headrace.connectors.sink import SinkOptions
from headrace.foundation.clock import SYSTEM_CLOCK, Clock
from headrace.foundation.errors import FinalError, UnavailableError
from headrace.foundation.ids import derive_id
from headrace.foundation.quantities import parse_duration_ms
from headrace.log.record import Record

_TRY_AGAIN = frozenset({408, 409, 423, 425, 429})
_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 20.0


def open_sink(options: SinkOptions) -> "WebhookSink":
    """Opens a server's URL as a sink."""
    return WebhookSink(options, SYSTEM_CLOCK)


class WebhookSink:
    """See the port. Records are sent at `prepare`, in order; `Idempotency-Key` lets the receiver drop repeats.

    An answer of 2xx takes the records. 408, 409, 423, 425, 429, 5xx and a connection that fails are tried again, as
    `Retry-After` says or with growing pauses; after `retryFor` UnavailableError is raised and the records wait. Any other
    answer refuses the records for good: RefusedRecordsError, once the ones behind them are delivered. Redirects are not followed.
    """

    def __init__(self, options: SinkOptions, clock: Clock) -> None:
        self._options = Options.model_validate(dict(options.options))
        self._where = f"StreamConnector/{options.name}: spec.webhook.url"
        self._clock = clock
        headers = {name: secret.get_secret_value() for name, secret in self._options.headers.items()}
        self._client = httpx.Client(
            timeout=parse_duration_ms(self._options.timeout) / 1000, headers=headers, verify=_trusted()
        )
        self._waiting: list[Record] = []
        self._refused: list[Refused] = []

    def recover(self, prepared: bytes | None) -> None:  # noqa: ARG002 -- what was sent stays sent
        self._waiting.clear()
        self._refused.clear()

    def write(self, records: Sequence[Record]) -> None:
        self._waiting += records

    def prepare(self, *, end: bool = False) -> bytes:  # noqa: ARG002 -- there is nothing to close
        size = self._options.batch_records
        while self._waiting:
            records = self._waiting[:size]
            try:
                self._send(records)
            except _RefusalError as refusal:
                self._refused += [Refused(record, str(refusal)) for record in records]
            del self._waiting[:size]
        if self._refused:
            refused, self._refused = self._refused, []
            message = f"the server refused {len(refused)} records: {refused[0].reason}"
            raise RefusedRecordsError(message, refused, where=self._where)
        return b"{}"

    def publish(self) -> None:
        """Nothing: `prepare` has sent."""

    def close(self) -> None:
        self._client.close()

    def _send(self, records: Sequence[Record]) -> None:
        bodies = [outgoing_json(record, metadata=self._options.metadata) for record in records]
        single = self._options.batch_records == 1
        body = bodies[0] if single else b"[" + b",".join(bodies) + b"]"
        key = records[0].id if single else derive_id(*(record.id for record in records))
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
            answer = self._client.request(self._options.method, self._options.url, content=body, headers=headers)
        except httpx.InvalidURL as error:
            raise FinalError(f"the address is not valid ({error})", where=self._where) from error
        except httpx.TransportError as error:
            raise UnavailableError(
                f"the server does not answer ({type(error).__name__}: {error})", where=self._where
            ) from error
        if answer.is_success:
            return
        reason = f"the server answered {answer.status_code} {answer.reason_phrase}: {answer.text[:200]}"
        if answer.status_code in _TRY_AGAIN or answer.is_server_error:
            after = _retry_after_seconds(answer.headers.get("retry-after"), self._clock)
            raise UnavailableError(reason, where=self._where, retry_after_seconds=after)
        raise _RefusalError(reason)


@cache
def _trusted() -> ssl.SSLContext:
    """The certificates that this machine trusts; reading them takes longer than many a request."""
    return httpx.create_ssl_context()


class _RefusalError(Exception):
    """The server will never take these records."""


class _StopAfter(stop_after_delay):
    """Like tenacity's own, by Headrace's clock."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        super().__init__(seconds)
        self._clock = clock
        self._started = clock.monotonic()

    def __call__(self, retry_state: RetryCallState) -> bool:  # noqa: ARG002 -- tenacity hands it in
        return self._clock.monotonic() - self._started >= self.max_delay


_backoff = wait_exponential_jitter(
    initial=_FIRST_PAUSE_SECONDS, max=_LONGEST_PAUSE_SECONDS, jitter=_FIRST_PAUSE_SECONDS
)


def _pause(state: RetryCallState) -> float:
    """What the server asked for, else twice the last pause and a little at random."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after_seconds if isinstance(error, UnavailableError) else None
    return _backoff(state) if asked is None else asked


def _retry_after_seconds(header: str | None, clock: Clock) -> float | None:
    """Seconds, from either form of the header (RFC 9110 §10.2.3); None where there is none that makes sense."""
    if header is None:
        return None
    if header.strip().isdigit():
        return float(header)
    try:
        at = parsedate_to_datetime(header)
    except ValueError:
        return None
    return max(0.0, at.replace(tzinfo=at.tzinfo or UTC).timestamp() - clock.now_ms() / 1000)
