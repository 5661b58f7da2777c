"""The `kafka:` block of a StreamConnector."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator
from pydantic.alias_generators import to_camel

_CONFIG = ConfigDict(
    alias_generator=to_camel, extra="forbid", frozen=True, populate_by_name=True, use_attribute_docstrings=True
)
_OURS = frozenset({
    "bootstrap.servers", "metadata.broker.list", "group.id", "isolation.level", "enable.auto.commit", "transactional.id",
    "enable.partition.eof", "auto.offset.reset", "enable.idempotence",
})  # fmt: skip


def _start(text: str) -> str:
    """earliest, latest, or a time with its zone."""
    if text in ("earliest", "latest"):
        return text
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            "must be earliest, latest, a time such as 2024-05-01T00:00:00Z, or offsets by partition"
        ) from None
    if moment.tzinfo is None:
        raise ValueError("the time needs a zone, such as a trailing Z")
    return text


def _free(properties: dict[str, SecretStr]) -> dict[str, SecretStr]:
    for name in properties:
        if name in _OURS:
            raise ValueError(f"Headrace sets {name} itself")
    return properties


class RegistryOptions(BaseModel):
    """A schema registry with Confluent's interface."""

    model_config = _CONFIG

    url: str = Field(pattern=r"^https?://")
    """Its URL; for Apicurio including the path /apis/ccompat/v7."""
    user: str = ""
    """For basic authentication."""
    password: SecretStr = SecretStr("")
    """Never shown."""


class _Topic(BaseModel):
    model_config = _CONFIG

    bootstrap_servers: str = "127.0.0.1:9092"
    """HOST:PORT, separated by commas."""
    topic: str = Field(min_length=1)
    """The topic's full name."""
    schema_registry: RegistryOptions | None = None
    """Where the schemas for avro and protobuf are."""
    properties: Annotated[dict[str, SecretStr], AfterValidator(_free)] = {}
    """librdkafka settings, such as security.protocol, sasl.mechanism, sasl.username, sasl.password; their values are never shown."""


class Options(_Topic):
    """Rows from a topic: every partition, committed records only."""

    format: Literal["json", "avro", "protobuf", "debezium"] = "json"
    """json: one object per message. avro, protobuf: as written by the schema registry's serialisers. debezium: change events as JSON."""
    start: Annotated[str, AfterValidator(_start)] | dict[int, Annotated[int, Field(ge=0)]] = "earliest"
    """Where a new source starts: earliest, latest, a time, or the first offset of each partition."""
    bounded: bool = False
    """true: the source ends where the topic ended when it was opened."""
    key_column: str | None = None
    """A STRING column for each message's key."""
    headers_column: str | None = None
    """A STRING column for each message's headers, as a JSON object of texts."""
    max_record_bytes: int = Field(default=1 << 20, ge=16, le=256 << 20)
    """A larger message becomes a dead letter."""

    @model_validator(mode="after")
    def _beside_rows(self) -> "Options":
        if self.format == "debezium" and (self.key_column or self.headers_column):
            raise ValueError("keyColumn and headersColumn cannot be combined with format: debezium")
        if self.key_column is not None and self.key_column == self.headers_column:
            raise ValueError("keyColumn and headersColumn name the same column")
        return self


class SinkOptions(_Topic):
    """Records written to a topic, each exactly once: one Kafka transaction per commit."""

    format: Literal["json", "avro", "protobuf"] = "json"
    """avro, protobuf: uses the newest schema of the subject TOPIC-value, and adds a nullable field for each column that it lacks."""
    key: str | None = None
    """The column used as the message's key; default: the record's own key."""
    metadata: bool = False
    """Adds `_id` and `_eventTime` (ms since 1970 UTC) to every value; the headers always have them."""
