"""The `stdout:` block of a StreamConnector."""

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Options(BaseModel):
    """Standard output as a sink: one JSON object per line."""

    model_config = ConfigDict(
        alias_generator=to_camel, extra="forbid", frozen=True, populate_by_name=True, use_attribute_docstrings=True
    )

    metadata: bool = False
    """Adds `_id` and `_eventTime` (ms since 1970 UTC) to every record."""
