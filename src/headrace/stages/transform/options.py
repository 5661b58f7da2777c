"""One stream query."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from headrace.connectors.source import SourceOptions
from headrace.events.dead_records import DEAD_RETENTION_MS
from headrace.foundation.resource_id import ResourceId
from headrace.stages.timeline import Timeline


@dataclass(frozen=True, slots=True)
class StreamBinding:
    """A topic of rows under the name that the query uses."""

    name: str
    topic: str
    source: SourceOptions | None = None
    """The StreamConnector whose schema and event time it has; None for a finetuner's examples."""
    finetuner: ResourceId | None = None
    """The finetuner whose `examples` it is (`sourceStreamFinetuner`)."""
    out_of_orderness_ms: int = 0
    """Of a finetuner's examples: what the connector at the root of the chain declares. A connector's own comes with its options."""

    @property
    def origin(self) -> ResourceId:
        """The connector or finetuner that it comes from."""
        if self.source is not None:
            return self.source.id
        assert self.finetuner is not None, "a stream comes from a connector or a finetuner"
        return self.finetuner


@dataclass(frozen=True, slots=True)
class TableBinding:
    """A bounded StreamConnector that a query joins as a static table."""

    name: str
    source: SourceOptions
    valid_from: str | None = None


@dataclass(frozen=True, slots=True)
class TransformOptions:
    """`preProcessingSQL` of one finetuner."""

    id: ResourceId
    """The resource that owns the query."""
    sql: str
    streams: tuple[StreamBinding, ...]
    tables: tuple[TableBinding, ...] = ()
    timeline: Timeline = "arrival"
    parallelism: int = 1
    checkpoint_interval_ms: int = 1_000
    memory_bytes: int | None = None
    start_ms: int | None = None
    """Event time from which a query without a state reads its inputs, ms since 1970 UTC; None: from their start."""
    sizes: Mapping[str, str] = field(default_factory=dict[str, str])
    """Sizes declared for an engine's own processes, by their keys in `dataProcessorTemplate`, such as 2048m."""
    retention_ms: int | None = None
    """How long rows are kept once every reader has passed them; None: without limit."""
    late_retention_ms: int = DEAD_RETENTION_MS
    dead_retention_ms: int = DEAD_RETENTION_MS
