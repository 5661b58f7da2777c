"""The `http:` and `webhook:` blocks of a StreamConnector."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr
from pydantic.alias_generators import to_camel

from headrace.foundation.quantities import parse_duration_ms

_CONFIG = ConfigDict(
    alias_generator=to_camel, extra="forbid", frozen=True, populate_by_name=True, use_attribute_docstrings=True
)


def _duration(text: str) -> str:
    parse_duration_ms(text)
    return text


Duration = Annotated[str, AfterValidator(_duration)]


class Options(BaseModel):
    """Events pushed as JSON (an object or an array) or NDJSON to `POST …/streamconnectors/NAME/events`."""

    model_config = _CONFIG

    max_body_bytes: int = Field(default=8 << 20, ge=1, le=256 << 20)
    """A larger request is rejected with 413."""
    max_record_bytes: int = Field(default=1 << 20, ge=16, le=256 << 20)
    """A request with a larger event is rejected with 400."""
    keep: Duration = "7d"
    """How long a pushed event and its id are kept after it has been read: within this time a repeat is harmless."""
    envelope: Literal["none", "debezium"] = "none"
    """debezium: each event is a change event; its row is used, with the change in the column `operation`: create, update, delete or read."""


class SinkOptions(BaseModel):
    """Records sent to a server as JSON, and retried until it accepts them."""

    model_config = _CONFIG

    url: str = Field(pattern=r"^https?://")
    """The URL to send records to."""
    method: Literal["POST", "PUT"] = "POST"
    """The HTTP method."""
    headers: dict[str, SecretStr] = {}
    """Additional headers, such as `Authorization`; their values are never shown."""
    batch_records: int = Field(default=1, ge=1, le=10_000)
    """1: each record is its own request, with its id as the `Idempotency-Key`. More: a JSON array of up to that many records, with a key made of their ids and offsets; a batch that is sent again has the same records and the same key."""
    timeout: Duration = "10s"
    """How long to wait for a response."""
    retry_for: Duration = "1m"
    """How long to retry a request, with growing pauses or those that `Retry-After` requests, before the sink reports the server as unavailable."""
    metadata: bool = False
    """Adds `_id` and `_eventTime` (ms since 1970 UTC) to every record."""
