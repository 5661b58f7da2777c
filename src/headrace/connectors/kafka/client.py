"""librdkafka's settings for foreign clusters, and its errors as the ports'."""

import logging
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
    """One of the client's own codes, which begin with an underscore and are no secret."""
    return getattr(KafkaError, name)


END_OF_PARTITION = _code("_PARTITION_EOF")
ALL_DOWN = _code("_ALL_BROKERS_DOWN")
OUT_OF_RANGE = frozenset({_code("_AUTO_OFFSET_RESET"), KafkaError.OFFSET_OUT_OF_RANGE})
REFUSED_RECORD = frozenset(
    {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_RECORD, KafkaError.INVALID_TIMESTAMP, KafkaError.INVALID_MSG}
)
"""What a broker says of a record that it will never take."""
FENCED = frozenset({_code("_FENCED"), _code("_FATAL"), KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH})
_REFUSED = frozenset(
    {_code("_AUTHENTICATION"), KafkaError.SASL_AUTHENTICATION_FAILED, KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED}
)  # fmt: skip
_MISSING = frozenset({_code("_UNKNOWN_TOPIC"), _code("_UNKNOWN_PARTITION"), KafkaError.UNKNOWN_TOPIC_OR_PART})


def settings(options: Options | SinkOptions, **more: object) -> dict[str, Any]:
    """The configuration of a client."""
    given = {name: value.get_secret_value() for name, value in options.properties.items()}
    return {
        "bootstrap.servers": options.bootstrap_servers, "client.id": "headrace", "logger": _LOGGER,
        "retry.backoff.ms": 1, "reconnect.backoff.max.ms": 1_000, "allow.auto.create.topics": False, **given, **more,
    }  # fmt: skip


def error_of(exception: KafkaException) -> KafkaError:
    """The error inside."""
    return exception.args[0]


def translate(error: KafkaError, where: str) -> HeadraceError:
    """`where`: StreamConnector/NAME."""
    code, text = error.code(), error.str()
    if code in _REFUSED:
        return InvalidDeclarationError(
            f"Kafka refuses these credentials: {text}", where=where, next_step="correct spec.kafka.properties, or the rights of this user"
        )  # fmt: skip
    if code in _MISSING:
        return NotFoundError(
            f"Kafka has no such topic: {text}", where=where, next_step="create it, or correct spec.kafka.topic"
        )
    if code == KafkaError.MSG_SIZE_TOO_LARGE:
        return FinalError(f"Kafka refuses a message of this size: {text}", where=where)
    return UnavailableError(f"Kafka: {text}", where=where, next_step="see that the broker runs and can be reached")
