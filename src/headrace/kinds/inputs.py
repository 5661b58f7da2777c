"""Which streams and tables a query reads, by the names that stand in it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

from sqlglot import exp

from headrace.connectors.source import EventTime, SourceOptions
from headrace.events import topics
from headrace.events.schema import Column, RowSchema
from headrace.kinds.declared_query import DeclaredQuery
from headrace.kinds.resource import Resource
from headrace.kinds.stream_connector.spec import StreamConnectorSpec
from headrace.stages.transform.options import StreamBinding, TableBinding
from headrace.streams.dialect import parse_query
from headrace.streams.query_error import place_of

SOURCE_STREAM = "source_stream"


@dataclass(frozen=True, slots=True)
class QueryInputs:
    """What a query reads."""

    streams: tuple[StreamBinding, ...]
    tables: tuple[TableBinding, ...]

    @property
    def connectors(self) -> tuple[str, ...]:
        """The names of every connector among them."""
        return (*(one.source.name for one in self.streams if one.source), *(one.source.name for one in self.tables))


def query_inputs(query: DeclaredQuery, connectors: Mapping[str, Resource]) -> QueryInputs:
    """`connectors`: the StreamConnectors of its namespace, by name. InvalidQueryError: the query, or a name in it, is wrong."""
    namespace = query.owner.namespace
    streams: dict[str, StreamBinding] = {}
    tables: dict[str, TableBinding] = {}
    for name in named_tables(query.sql):
        if name.lower() == SOURCE_STREAM:
            streams[name] = _own_stream(name, query, connectors)
        elif name in connectors and cast("StreamConnectorSpec", connectors[name].spec).direction == "source":
            connector = connectors[name]
            table = cast("StreamConnectorSpec", connector.spec).table
            if table is None:
                streams[name] = StreamBinding(name, topics.events(namespace, name), source_options(connector))
            else:
                tables[name] = TableBinding(name, source_options(connector), table.valid_from)
    return QueryInputs(tuple(streams.values()), tuple(tables.values()))


def source_options(connector: Resource) -> SourceOptions:
    """How the connector's room opens a source; secrets in `options` are still references."""
    spec = cast("StreamConnectorSpec", connector.spec)
    time = spec.event_time
    schema = RowSchema(tuple(Column(column.name, column.type) for column in spec.columns)) if spec.columns else None
    return SourceOptions(
        connector.namespace,
        connector.name,
        spec.type,
        spec.block,
        schema,
        tuple(spec.key),
        tuple(spec.id),
        EventTime(
            time.column, time.out_of_orderness, time.idle_timeout, time.max_ahead, historical=spec.timeline == "event"
        ),
        connector.folder,
    )


def connectors_of(resources: Iterable[Resource], namespace: str) -> dict[str, Resource]:
    """The StreamConnectors of a namespace by name."""
    return {one.name: one for one in resources if one.kind == "StreamConnector" and one.namespace == namespace}


def _own_stream(name: str, query: DeclaredQuery, connectors: Mapping[str, Resource]) -> StreamBinding:
    """`source_stream`, as `name` writes it."""
    namespace = query.owner.namespace
    if query.finetuner:
        return StreamBinding(name, topics.examples(namespace, query.finetuner), finetuner=query.finetuner)
    source = source_options(connectors[query.connector])
    return StreamBinding(name, topics.events(namespace, query.connector), source)


def named_tables(sql: str) -> dict[str, str]:
    """The tables that stand in a query, in order, and where; names given by WITH and functions are left out. InvalidQueryError."""
    query = parse_query(sql)
    given = {one.alias.lower() for one in query.find_all(exp.CTE)}
    found: dict[str, str] = {}
    for table in query.find_all(exp.Table):
        if isinstance(table.this, exp.Identifier) and table.name.lower() not in given:
            found.setdefault(table.name, place_of(sql, table))
    return found
