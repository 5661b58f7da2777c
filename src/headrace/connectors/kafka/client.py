"""librdkafka's settings for external clusters, and its errors mapped to the ports'."""

import logging
import queue
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from headrace.connectors.kafka.options import Options, SinkOptions
from headrace.foundation.errors import (
    FinalError,
    HeadraceError,
    InvalidDeclarationError,
    NotFoundError,
    UnavailableError,
)

_LOGGER = logging.getLogger("headrace.kafka.connector")
_LOGGER.addHandler(logging.NullHandler())
_LOGGER.propagate = False


def _code(name: str) -> int:
    """One of the client's own error codes, whose names begin with an underscore although they are public."""
    return getattr(KafkaError, name)


END_OF_PARTITION = _code("_PARTITION_EOF")
ALL_DOWN = _code("_ALL_BROKERS_DOWN")
TIMED_OUT: int = _code("_TIMED_OUT")
OUT_OF_RANGE = frozenset({_code("_AUTO_OFFSET_RESET"), KafkaError.OFFSET_OUT_OF_RANGE})
REFUSED_RECORD = frozenset(
    {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_RECORD, KafkaError.INVALID_TIMESTAMP, KafkaError.INVALID_MSG}
)
"""Errors for a record that a broker will never accept."""
FENCED = frozenset({_code("_FENCED"), _code("_FATAL"), KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH})
_REFUSED = frozenset(
    {_code("_AUTHENTICATION"), KafkaError.SASL_AUTHENTICATION_FAILED, KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED}
)  # fmt: skip
_SILENT = frozenset({_code("_TRANSPORT"), TIMED_OUT})
"""Outcomes that give no reason."""
_TLS: int = _code("_SSL")
_MISSING = frozenset({_code("_UNKNOWN_TOPIC"), _code("_UNKNOWN_PARTITION"), KafkaError.UNKNOWN_TOPIC_OR_PART})


def settings(options: Options | SinkOptions, **more: object) -> dict[str, Any]:
    """The configuration of a client."""
    given = {name: value.get_secret_value() for name, value in options.properties.items()}
    return {
        "bootstrap.servers": options.bootstrap_servers, "client.id": "headrace", "logger": _LOGGER,
        "retry.backoff.ms": 1, "reconnect.backoff.max.ms": 1_000, "allow.auto.create.topics": False, **given, **more,
    }  # fmt: skip


def error_of(exception: KafkaException) -> KafkaError:
    """The wrapped error."""
    return exception.args[0]


def within(seconds: float, call: Callable[[], object]) -> bool:
    """Whether a client call returned in time; its errors are raised. A call that did not return is abandoned in its thread."""
    outcome: queue.Queue[BaseException | None] = queue.Queue()

    def run() -> None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            outcome.put(error)
        else:
            outcome.put(None)

    threading.Thread(target=run, name="headrace-kafka-call", daemon=True).start()
    try:
        error = outcome.get(timeout=seconds)
    except queue.Empty:
        return False
    if error is not None:
        raise error
    return True


@contextmanager
def unwrapped() -> Generator[None]:
    """KafkaException, also when the client wraps it because it was raised in a callback."""
    try:
        yield
    except SystemError as wrapped:
        if not isinstance(wrapped.__cause__, KafkaException):
            raise
        raise wrapped.__cause__ from wrapped


def refused(error: KafkaError) -> bool:
    """Whether retrying cannot help: a login, a permission or a certificate."""
    return error.code() in _REFUSED or (error.code() == _TLS and "certificate" in error.str())


def translate(error: KafkaError, where: str) -> HeadraceError:
    """`where`: StreamConnector/NAME."""
    code, text = error.code(), error.str()
    if refused(error):
        return InvalidDeclarationError(
            f"Kafka refuses these credentials: {text}", where=where, next_step="correct spec.kafka.properties or the user's permissions"
        )  # fmt: skip
    if code in _MISSING:
        return NotFoundError(
            f"Kafka has no such topic: {text}", where=where, next_step="create it, or correct spec.kafka.topic"
        )
    if code == KafkaError.MSG_SIZE_TOO_LARGE:
        return FinalError(f"Kafka refuses a message of this size: {text}", where=where)
    protocol = "with its listener's security.protocol" if code in _SILENT else ""
    return UnavailableError(
        f"Kafka: {text}", where=where, next_step=f"check that the broker is running and reachable{protocol}"
    )


class Told:
    """What a client reports on its own, through `hear`: refused credentials, which no call's outcome shows, and why brokers are lost."""

    def __init__(self, where: str) -> None:
        """`where`: StreamConnector/NAME."""
        self.where = where
        self.refusal: InvalidDeclarationError | None = None
        self.all_down = False
        self._last: KafkaError | None = None

    def hear(self, error: KafkaError) -> None:
        if error.code() == ALL_DOWN:
            self.all_down = True
        elif isinstance(found := translate(error, self.where), InvalidDeclarationError):
            self.refusal = found
        else:
            self._last = error

    def error(self, exception: KafkaException) -> HeadraceError:
        """The outcome of a failed call, or what the client reported if that is more specific."""
        if self.refusal is not None:
            return self.refusal
        outcome = error_of(exception)
        more = self._last if outcome.code() in _SILENT else None
        return translate(outcome if more is None else more, self.where)
