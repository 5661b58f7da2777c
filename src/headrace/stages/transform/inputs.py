"""What a query reads: streams with their schemas once they are known, static tables read to their end."""

from dataclasses import dataclass, field

import pyarrow as pa

from headrace.connectors.registry import open_source
from headrace.connectors.source import SourceContext
from headrace.events.schema import RowSchema
from headrace.foundation.clock import Clock
from headrace.foundation.errors import InvalidDeclarationError
from headrace.log.topic_log import TopicLog
from headrace.stages.ingest import stage as ingest
from headrace.stages.stage import Condition
from headrace.stages.transform.options import StreamBinding, TableBinding, TransformOptions
from headrace.stages.transform.row_source import EXAMPLE_COLUMNS
from headrace.streams.stream_engine import QuerySpec, StaticTable, StreamInput

TABLE_ROWS = 1_000_000
WAITING_FOR_SCHEMA = Condition("Transforming", "False", "WaitingForSchema", "no record of its source has arrived yet")


@dataclass(slots=True)
class QueryInputs:
    """Makes a query of its options and of what its inputs are known to hold."""

    options: TransformOptions
    log: TopicLog
    clock: Clock
    schemas: dict[str, RowSchema] = field(default_factory=dict[str, RowSchema])
    """Of each input, by its name in the query; known once `spec` has given one."""

    def spec(self) -> QuerySpec | None:
        """None: the schema of an input is not known yet."""
        known = {info.spec.name for info in self.log.topics()}
        inputs = [self._input(binding) for binding in self.options.streams if binding.topic in known]
        if len(inputs) < len(self.options.streams) or any(one is None for one in inputs):
            return None
        tables = [self._table(table) for table in self.options.tables]
        return QuerySpec(self.options.sql, [one for one in inputs if one], tables, self.options.timeline)

    def keep_to(self, spec: QuerySpec) -> None:
        """Rows are read with the schemas of this query, which may be those that it began with."""
        self.schemas |= {one.name: one.schema for one in spec.inputs}

    def _input(self, binding: StreamBinding) -> StreamInput | None:
        source = binding.source
        if source is None:
            self.schemas[binding.name] = EXAMPLE_COLUMNS
            return StreamInput(binding.name, EXAMPLE_COLUMNS, binding.topic, "event_time")
        schema = source.schema
        if schema is None:
            state = ingest.read_state(self.log, source.namespace, source.name)
            schema = ingest.schema_of(state) if state else None
        if schema is None:
            return None
        self.schemas[binding.name] = schema
        time = source.event_time
        return StreamInput(binding.name, schema, binding.topic, time.column, time.out_of_orderness_ms)

    def _table(self, binding: TableBinding) -> StaticTable:
        source = open_source(binding.source, SourceContext(self.log, self.clock))
        source.open(None)
        batches: list[pa.Table] = []
        while sum(batch.num_rows for batch in batches) <= TABLE_ROWS:
            batch = source.poll(50_000, 1.0)
            if batch.rows is not None:
                batches.append(batch.rows.table)
            if batch.end:
                source.close()
                return StaticTable(binding.name, pa.concat_tables(batches), binding.valid_from, binding.source.key)
        raise InvalidDeclarationError(
            f"the table {binding.name} has more than {TABLE_ROWS} rows", next_step="join it as a stream instead"
        )
