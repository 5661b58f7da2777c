"""Which streams and tables a query reads, by the names it uses."""

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
from headrace.kinds.stream_finetuner.spec import StreamFinetunerSpec
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
        return (
            *(one.source.id.name for one in self.streams if one.source),
            *(one.source.id.name for one in self.tables),
        )


def query_inputs(query: DeclaredQuery, resources: Iterable[Resource]) -> QueryInputs:
    """`resources`: those of its namespace are looked at. InvalidQueryError: the query, or a name in it, is wrong."""
    namespace, everything = query.owner.namespace, list(resources)
    connectors = connectors_of(everything, namespace)
    finetuners = {one.name: one for one in everything if (one.kind, one.namespace) == ("StreamFinetuner", namespace)}
    streams: dict[str, StreamBinding] = {}
    tables: dict[str, TableBinding] = {}
    for name in named_tables(query.sql):
        if name.lower() == SOURCE_STREAM:
            streams[name] = _own_stream(name, query, connectors, finetuners)
        elif name in connectors and cast("StreamConnectorSpec", connectors[name].spec).direction == "source":
            connector = connectors[name]
            table = cast("StreamConnectorSpec", connector.spec).table
            if table is None:
                streams[name] = StreamBinding(name, topics.events(connector.id), source_options(connector))
            else:
                tables[name] = TableBinding(name, source_options(connector), table.valid_from)
    return QueryInputs(tuple(streams.values()), tuple(tables.values()))


def source_options(connector: Resource) -> SourceOptions:
    """How the connector's room opens a source; secrets in `options` are still references."""
    spec = cast("StreamConnectorSpec", connector.spec)
    time = spec.event_time
    schema = RowSchema(tuple(Column(column.name, column.type) for column in spec.columns)) if spec.columns else None
    return SourceOptions(
        connector.id,
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


def finetuners_of(resources: Iterable[Resource], namespace: str) -> dict[str, Resource]:
    """The StreamFinetuners of a namespace by name."""
    return {one.name: one for one in resources if one.kind == "StreamFinetuner" and one.namespace == namespace}


def _own_stream(
    name: str, query: DeclaredQuery, connectors: Mapping[str, Resource], finetuners: Mapping[str, Resource]
) -> StreamBinding:
    """`source_stream`, as `name` writes it."""
    if query.finetuner:
        root = connectors.get(_root_connector(query.finetuner, finetuners))
        late = cast("StreamConnectorSpec", root.spec).event_time.out_of_orderness if root else 0
        finetuner = query.owner.sibling("StreamFinetuner", query.finetuner)
        return StreamBinding(name, topics.examples(finetuner), finetuner=finetuner, out_of_orderness_ms=late)
    source = source_options(connectors[query.connector])
    return StreamBinding(name, topics.events(source.id), source)


def _root_connector(finetuner: str, finetuners: Mapping[str, Resource]) -> str:
    """The connector from which a chain of finetuners starts; '': a link is missing, or the chain is a circle."""
    passed = set[str]()
    while finetuner not in passed and finetuner in finetuners:
        passed.add(finetuner)
        source = cast("StreamFinetunerSpec", finetuners[finetuner].spec).finetuner_info.data_source
        if source.source_stream_finetuner is None:
            return source.source_stream_connector or ""
        finetuner = source.source_stream_finetuner
    return ""


def named_tables(sql: str) -> dict[str, str]:
    """The tables that a query names, in order, and where; names given by WITH and functions are left out. InvalidQueryError."""
    query = parse_query(sql)
    given = {one.alias.lower() for one in query.find_all(exp.CTE)}
    found: dict[str, str] = {}
    for table in query.find_all(exp.Table):
        if isinstance(table.this, exp.Identifier) and table.name.lower() not in given:
            found.setdefault(table.name, place_of(sql, table))
    return found
