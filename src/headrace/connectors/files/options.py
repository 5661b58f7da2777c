"""The `file:` block of a StreamConnector."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

_CONFIG = ConfigDict(
    alias_generator=to_camel, extra="forbid", frozen=True, populate_by_name=True, use_attribute_docstrings=True
)


class Options(BaseModel):
    """Files as a source."""

    model_config = _CONFIG

    path: str = Field(min_length=1)
    """A file, a glob such as `data/trades-*.csv`, or a folder, relative to the YAML file. Hidden files in a folder are skipped."""
    format: Literal["auto", "json", "csv", "parquet"] = "auto"
    """JSON lines, CSV with a header, or Parquet. `auto` uses the suffix: .json, .jsonl, .ndjson, .csv, .parquet; all but the last also with .gz."""
    follow: bool = False
    """Continue at the end of the input: new lines and new files are read as they arrive, in the order of file names. A last line without a newline waits for the rest."""
    max_record_bytes: int = Field(default=8 << 20, ge=16, le=256 << 20)
    """A longer record is skipped and becomes a dead letter."""
    delimiter: str = Field(default=",", pattern=r"^[\t !#-~]$")
    """The CSV field separator."""
    envelope: Literal["none", "debezium"] = "none"
    """debezium: each line is a change event; its row is used, with the change in the column `operation`: create, update, delete or read."""

    @model_validator(mode="after")
    def _of_json(self) -> "Options":
        if self.envelope != "none" and self.format in ("csv", "parquet"):
            raise ValueError(f"an envelope requires format json, not {self.format}")
        return self


class SinkOptions(BaseModel):
    """Files as a sink. A file appears under its name, `CONNECTOR-NNNNNNNN.jsonl` or `.parquet`, once it is complete."""

    model_config = _CONFIG

    path: str = Field(min_length=1)
    """The folder to write to, relative to the YAML file; created if missing."""
    format: Literal["json", "parquet"] = "json"
    """JSON lines, or Parquet with columns inferred from each file's records."""
    roll_records: int = Field(default=100_000, ge=1)
    """Start a new file after this many records."""
    roll_bytes: int = Field(default=32 << 20, ge=1)
    """Start a new file after this many bytes of JSON."""
    metadata: bool = False
    """Adds `_id` and `_eventTime` (ms since 1970 UTC) to every record."""
