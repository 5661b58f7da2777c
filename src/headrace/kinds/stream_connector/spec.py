"""What every StreamConnector declares; `models.py` adds the block of its type."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field

from headrace.events.schema import arrow_type
from headrace.foundation.errors import InvalidDeclarationError
from headrace.kinds.fields import (
    DurationMs,
    FieldError,
    Name,
    Names,
    PositiveDurationMs,
    Refers,
    Text,
    read_text,
    words,
)
from headrace.kinds.secret_fields import as_written
from headrace.kinds.spec_model import SpecModel

CONNECTOR_TOPICS = ("events", "dead")
FINETUNER_TOPICS = (
    "rows", "late", "prompts", "examples", "scores", "decisions",
    "dead.transform", "dead.prompt", "dead.label", "dead.train",
)  # fmt: skip
NAMESPACE_TOPICS = ("answers", "feedback")
TOPICS = (*CONNECTOR_TOPICS, *FINETUNER_TOPICS, *NAMESPACE_TOPICS)


def _read_type(value: object) -> str:
    text = read_text(value)
    try:
        arrow_type(text)
    except InvalidDeclarationError as error:
        raise FieldError(error.message, hint=error.next_step) from None
    return text


class ColumnSpec(SpecModel):
    """A column."""

    name: Text
    """Its name."""
    type: Annotated[str, BeforeValidator(_read_type)]
    """Its Flink SQL type, such as BIGINT, STRING, DECIMAL(38, 18) or TIMESTAMP_LTZ(3)."""


class EventTimeSpec(SpecModel):
    """Which column holds the event time, and how far to trust it."""

    column: Text | None = None
    """Column with the event time. Default: the time of arrival."""
    out_of_orderness: DurationMs = 0
    """How far an event may be behind the newest one."""
    idle_timeout: DurationMs = 30_000
    """Silence after which other inputs no longer wait for the source."""
    max_ahead: DurationMs = 300_000
    """An event further ahead of the clock than this is a dead letter."""


class TableSpec(SpecModel):
    """Marks a bounded source as a table that queries join."""

    valid_from: Text | None = None
    """Column with the time from which a row is valid for its key. Default: each key has one row, always valid."""


class SinkInput(SpecModel):
    """What a sink writes."""

    stream_finetuner: Annotated[Name, Refers("StreamFinetuner")] | None = None
    """The StreamFinetuner whose topic it is."""
    stream_connector: Annotated[Name, Refers("StreamConnector")] | None = None
    """The StreamConnector whose topic it is."""
    topic: Annotated[str, words(*TOPICS)] | None = None
    """Of a finetuner: rows, late, prompts, examples, scores, decisions or dead.STAGE; of a connector: events or dead; alone: answers or feedback."""


class StreamConnectorSpec(SpecModel):
    """A source or a sink of rows."""

    direction: Annotated[str, words("source", "sink")] = "source"
    """source reads events, sink writes results."""
    type: Text
    """Technology; its options are in the block of the same name."""
    columns: Annotated[tuple[ColumnSpec, ...] | None, Field(alias="schema")] = None
    """Columns with their Flink SQL types. Default: inferred from the first records, then fixed."""
    key: Names = ()
    """Columns that partition the stream and order it."""
    id: Names = ()
    """Columns that identify a record, so that a repeat is harmless. Default: its position in the source."""
    event_time: EventTimeSpec = EventTimeSpec()
    """Which column holds the event time, and how far to trust it."""
    timeline: Annotated[str, words("arrival", "event")] = "arrival"
    """event: historical records with their own clock (`maxAhead` is not checked)."""
    retention: PositiveDurationMs | None = None
    """How long events are kept in the log, never past the slowest reader. Default: without limit. If a KnowledgeBase reads them, the newest record of each document stays."""
    table: TableSpec | None = None
    """Marks a bounded source as a table that queries join."""
    input: SinkInput | None = None
    """What a sink writes."""

    @property
    def block(self) -> Mapping[str, Any]:
        """The type's own options, validated, as they were written; secrets are still references."""
        options = getattr(self, OPTIONS, None)
        return as_written(options) if isinstance(options, BaseModel) else {}


OPTIONS = "type_options"
"""The field of the models in `models.py` that holds the type's block."""
