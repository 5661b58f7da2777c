"""Maps librdkafka's errors to the port's."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager

from confluent_kafka import KafkaError, KafkaException

from headrace.foundation.errors import (
    DiskFullError,
    FinalError,
    HeadraceError,
    InvalidDeclarationError,
    NotFoundError,
    UnavailableError,
)


def _code(name: str) -> int:
    """One of the client's own error codes, whose names begin with an underscore although they are public."""
    return getattr(KafkaError, name)


FENCED = frozenset(
    {
        _code("_FENCED"), KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.INVALID_PRODUCER_ID_MAPPING,
        KafkaError.UNKNOWN_PRODUCER_ID,
    }
)  # fmt: skip
"""Another producer took the transactional id, or the broker ended the transaction and bumped the id's epoch."""
_ALL_DOWN: int = _code("_ALL_BROKERS_DOWN")
MISSING = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, _code("_UNKNOWN_TOPIC"), _code("_UNKNOWN_PARTITION")})
PASSING = frozenset({_code("_ALL_BROKERS_DOWN"), _code("_TRANSPORT"), _code("_TIMED_OUT"), _code("_RESOLVE")})
"""Reported while a broker is unreachable; the client recovers on its own."""
ELECTING = frozenset(
    {
        KafkaError.LEADER_NOT_AVAILABLE, KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.FENCED_LEADER_EPOCH,
    }
)  # fmt: skip
"""Reported while a broker restarts and learns its partitions' leaders. The client does not mark all of them as retriable."""
END_OF_PARTITION: int = _code("_PARTITION_EOF")
FATAL: int = _code("_FATAL")
TIMED_OUT: int = _code("_TIMED_OUT")
_REFUSED = frozenset(
    {
        _code("_AUTHENTICATION"), KafkaError.SASL_AUTHENTICATION_FAILED, KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED, KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    }
)  # fmt: skip
_TLS: int = _code("_SSL")
_TOO_LARGE = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE})


def error_of(exception: KafkaException) -> KafkaError:
    """The wrapped error."""
    error = exception.args[0]
    assert isinstance(error, KafkaError)
    return error


def refused(error: KafkaError) -> bool:
    """Whether retrying cannot help: a login, a permission or a certificate."""
    return error.code() in _REFUSED or (error.code() == _TLS and "certificate" in error.str())


def telling(told: Sequence[KafkaError], outcome: KafkaError) -> KafkaError:
    """The outcome of a failed call, or what the client reported on its own if that is more specific: refused credentials, or why no
    broker is reachable.
    """
    if (refusal := next((one for one in told if refused(one)), None)) is not None:
        return refusal
    reasons = [one for one in told if one.code() != _ALL_DOWN]
    return reasons[-1] if reasons and outcome.code() in PASSING else outcome


def translate(error: KafkaError, where: str) -> HeadraceError:
    """The port's error; `where` is the broker's address."""
    code, text = error.code(), error.str()
    if refused(error):
        return InvalidDeclarationError(
            f"Kafka refuses these credentials: {text}", where=where, next_step="correct kafka_properties or the user's permissions"
        )  # fmt: skip
    if code in MISSING:
        return missing(text, where)
    if code in _TOO_LARGE:
        return FinalError(
            f"Kafka refuses a record of this size: {text}",
            where=where,
            next_step="raise message.max.bytes on the broker or max.message.bytes on the topic",
        )
    if code == KafkaError.KAFKA_STORAGE_ERROR:
        return DiskFullError(f"the broker cannot write: {text}", where=where)
    protocol = " with its listener's security.protocol" if code in PASSING else ""
    return UnavailableError(
        f"Kafka: {text}", where=where, next_step=f"check that the broker is running and reachable{protocol}"
    )


def missing(what: str, where: str) -> NotFoundError:
    """A topic of the log is missing; `what`: its name, or the client's message."""
    return NotFoundError(
        f"Kafka has no such topic: {what}", where=where,
        next_step="a topic of the log was deleted: start over under another kafka_prefix",
    )  # fmt: skip


@contextmanager
def translated(where: str) -> Generator[None]:
    """Maps librdkafka's exceptions raised inside to the port's."""
    try:
        yield
    except KafkaException as exception:
        raise translate(error_of(exception), where) from exception


def passes(error: KafkaError) -> bool:
    """Whether the error is temporary, so that the caller may retry."""
    return error.retriable() or error.code() in PASSING or error.code() in ELECTING
