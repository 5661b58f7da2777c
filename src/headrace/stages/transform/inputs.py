"""Opens what a query reads: streams, once their schemas are known, and static tables, read to their end."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from headrace.connectors.source import SourceContext
from headrace.events.schema import RowSchema
from headrace.foundation.clock import Clock
from headrace.log.topic_log import TopicLog
from headrace.stages.ingest import stage as ingest
from headrace.stages.stage import Condition
from headrace.stages.transform.options import StreamBinding, TransformOptions
from headrace.stages.transform.row_source import EXAMPLE_COLUMNS
from headrace.stages.transform.static_table import LoadedTable, load_table
from headrace.streams.stream_engine import QuerySpec, StreamInput

WAITING_FOR_SCHEMA = Condition("Transforming", "False", "WaitingForSchema", "its source has no record yet")


@dataclass(slots=True)
class QueryInputs:
    """Builds an owner's query from its options and from what its inputs are known to hold."""

    options: TransformOptions
    log: TopicLog
    clock: Clock
    schemas: dict[str, RowSchema] = field(default_factory=dict[str, RowSchema])
    """Of each input, by its name in the query; known once `spec` has given one."""
    tables: Sequence[LoadedTable] = ()
    """As `spec` last read them."""

    def spec(self) -> QuerySpec | None:
        """None: the schema of an input is not known yet."""
        known = {info.spec.name for info in self.log.topics()}
        inputs = [self._input(binding) for binding in self.options.streams if binding.topic in known]
        if len(inputs) < len(self.options.streams) or any(one is None for one in inputs):
            return None
        context = SourceContext(self.log, self.clock)
        self.tables = [load_table(one.name, one.source, context, one.valid_from) for one in self.options.tables]
        tables = [one.table for one in self.tables]
        return QuerySpec(self.options.sql, [one for one in inputs if one], tables, self.options.timeline)

    def keep_to(self, spec: QuerySpec) -> None:
        """Rows are read with the schemas of this query, which may be those that it began with."""
        self.schemas |= {one.name: one.schema for one in spec.inputs}

    def _input(self, binding: StreamBinding) -> StreamInput | None:
        source = binding.source
        if source is None:
            self.schemas[binding.name] = EXAMPLE_COLUMNS
            return StreamInput(binding.name, EXAMPLE_COLUMNS, binding.topic, "event_time", binding.out_of_orderness_ms)
        schema = source.schema
        if schema is None:
            state = ingest.read_state(self.log, source.id)
            schema = ingest.schema_of(state) if state else None
        if schema is None:
            return None
        self.schemas[binding.name] = schema
        time = source.event_time
        return StreamInput(binding.name, schema, binding.topic, time.column, time.out_of_orderness_ms)
