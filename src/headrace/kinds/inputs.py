"""Which streams and tables a finetuner's query reads, by the names that stand in it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import cast

from sqlglot import exp

from headrace.connectors.source import EventTime, SourceOptions
from headrace.events import topics
from headrace.events.schema import Column, RowSchema
from headrace.kinds.resource import Resource
from headrace.kinds.stream_connector.spec import StreamConnectorSpec
from headrace.kinds.stream_finetuner.spec import DataSource, StreamFinetunerSpec
from headrace.stages.options import StreamBinding, TableBinding
from headrace.streams.dialect import parse_query
from headrace.streams.query_error import place_of

SOURCE_STREAM = "source_stream"


@dataclass(frozen=True, slots=True)
class QueryInputs:
    """What a query reads."""

    streams: tuple[StreamBinding, ...]
    tables: tuple[TableBinding, ...]


def query_inputs(
    finetuner: Resource, connectors: Mapping[str, Resource], finetuners: Mapping[str, Resource]
) -> QueryInputs:
    """`connectors`, `finetuners`: those of its namespace, by name. InvalidQueryError: the query, or a name in it, is wrong."""
    spec = cast("StreamFinetunerSpec", finetuner.spec)
    own = _own_stream(finetuner, connectors, finetuners)
    streams: dict[str, StreamBinding] = {}
    tables: dict[str, TableBinding] = {}
    for name in named_tables(spec.processing.pre_processing_sql):
        if name.lower() == SOURCE_STREAM:
            streams[name] = replace(own, name=name)
        elif name in connectors and cast("StreamConnectorSpec", connectors[name].spec).direction == "source":
            connector = connectors[name]
            table = cast("StreamConnectorSpec", connector.spec).table
            if table is None:
                streams[name] = StreamBinding(name, topics.events(finetuner.namespace, name), name)
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


def finetuners_of(resources: Iterable[Resource], namespace: str) -> dict[str, Resource]:
    """The StreamFinetuners of a namespace by name."""
    return {one.name: one for one in resources if one.kind == "StreamFinetuner" and one.namespace == namespace}


def _own_stream(
    finetuner: Resource, connectors: Mapping[str, Resource], finetuners: Mapping[str, Resource]
) -> StreamBinding:
    source = _data_source(finetuner)
    if source.source_stream_finetuner:
        name, topic = (
            source.source_stream_finetuner,
            topics.examples(finetuner.namespace, source.source_stream_finetuner),
        )
        root = connectors.get(_root_connector(finetuner, finetuners))
        late = cast("StreamConnectorSpec", root.spec).event_time.out_of_orderness if root else 0
        return StreamBinding(SOURCE_STREAM, topic, "", name, late)
    name = cast("str", source.source_stream_connector)
    return StreamBinding(SOURCE_STREAM, topics.events(finetuner.namespace, name), name)


def _root_connector(finetuner: Resource, finetuners: Mapping[str, Resource]) -> str:
    """The connector from which the chain of a finetuner starts; empty: a link is missing, or the chain is a circle."""
    passed = set[str]()
    while (name := _data_source(finetuner).source_stream_finetuner) is not None:
        if name in passed or name not in finetuners:
            return ""
        passed.add(name)
        finetuner = finetuners[name]
    return _data_source(finetuner).source_stream_connector or ""


def _data_source(finetuner: Resource) -> DataSource:
    return cast("StreamFinetunerSpec", finetuner.spec).finetuner_info.data_source


def named_tables(sql: str) -> dict[str, str]:
    """The tables that stand in a query, in order, and where; names given by WITH and functions are left out. InvalidQueryError."""
    query = parse_query(sql)
    given = {one.alias.lower() for one in query.find_all(exp.CTE)}
    found: dict[str, str] = {}
    for table in query.find_all(exp.Table):
        if isinstance(table.this, exp.Identifier) and table.name.lower() not in given:
            found.setdefault(table.name, place_of(sql, table))
    return found
