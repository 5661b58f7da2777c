"""The `file:` block of a StreamConnector."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


class Options(BaseModel):
    """Files as a source or a sink."""

    model_config = ConfigDict(
        alias_generator=to_camel, extra="forbid", frozen=True, populate_by_name=True, use_attribute_docstrings=True
    )

    path: str = Field(min_length=1)
    """A file, a glob (`data/trades-*.csv`) or a folder; relative to the YAML file. A sink writes into this folder."""
    format: Literal["auto", "json", "csv", "parquet"] = "auto"
    """JSON lines, CSV with a header, or Parquet. `auto` goes by the suffix: .json, .jsonl, .ndjson, .csv, .parquet, .gz behind the first four; a sink then writes JSON lines."""
    follow: bool = False
    """Go on when the end is reached: new lines and new files are read as they come, in the order of the files' names. A last line without a newline waits for the rest."""
    max_record_bytes: int = Field(default=8 << 20, ge=1024, le=256 << 20)
    """A longer record is skipped and becomes a dead letter."""
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    """What separates the fields of CSV."""
    roll_records: int = Field(default=100_000, ge=1)
    """A sink begins a new file after this many records."""
    roll_bytes: int = Field(default=128 << 20, ge=1)
    """A sink begins a new file after this many bytes of JSON."""
    metadata: bool = False
    """A sink adds `_id` and `_eventTime` (ms since 1970 UTC) to every record."""
