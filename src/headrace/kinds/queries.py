"""Checks queries with the engine's own planner."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from headrace.connectors.source import SourceOptions
from headrace.events.row_batch import RowBatch
from headrace.events.schema import RowSchema
from headrace.foundation.errors import HeadraceError, InvalidQueryError
from headrace.kinds.declared_query import DeclaredQuery
from headrace.kinds.inputs import SOURCE_STREAM, connectors_of, named_tables, query_inputs
from headrace.kinds.kind import World
from headrace.kinds.mistake import listed, nearest
from headrace.kinds.problem import Problem
from headrace.kinds.registry import KINDS
from headrace.kinds.resource import Resource
from headrace.kinds.samples import sample
from headrace.stages.transform.options import StreamBinding, TableBinding
from headrace.stages.transform.row_source import EXAMPLE_COLUMNS
from headrace.streams.registry import open_engine
from headrace.streams.stream_engine import QueryPlan, QuerySpec, StaticTable, StreamInput


@dataclass(frozen=True, slots=True)
class QueryChecker:
    """Checks queries against everything that is declared."""

    resources: Sequence[Resource]
    """Those that are right."""
    world: World
    """All that are declared, right or not."""
    streams: str
    look: bool
    """Whether a source's first records may be read."""

    def problems(self, resource: Resource) -> Iterator[Problem]:
        """What is wrong with the queries that a resource owns, and with what it takes from them."""
        for query in KINDS[resource.kind].queries(resource):
            yield from self._of_query(query)

    def _of_query(self, query: DeclaredQuery) -> Iterator[Problem]:
        try:
            unknown = list(self._unknown(query))
            yield from unknown
            plan = None if unknown else self._plan(query)
        except InvalidQueryError as error:
            yield _query_problem(query, error)
            return
        except HeadraceError as error:
            yield Problem(query.place, f"the query could not be checked: {error}", warning=True)
            return
        if plan is not None:
            yield from query.check(plan.output)

    def _unknown(self, query: DeclaredQuery) -> Iterator[Problem]:
        """Names in the query that no source has."""
        namespace = query.owner.namespace
        drafts = (
            self.world.find(query.owner.sibling("StreamConnector", name))
            for name in self.world.names("StreamConnector", namespace)
        )
        known = (SOURCE_STREAM, *(one.name for one in drafts if one and one.text("direction") != "sink"))
        for name, where in named_tables(query.sql).items():
            if name not in known and name.lower() != SOURCE_STREAM:
                error = InvalidQueryError(f"there is no stream {name!r}", where=where)
                yield replace(_query_problem(query, error), valid=listed(known), near=nearest(name, known))

    def _plan(self, query: DeclaredQuery) -> QueryPlan | None:
        connectors = connectors_of(self.resources, query.owner.namespace)
        named = {*named_tables(query.sql), query.connector}
        declared = set(self.world.names("StreamConnector", query.owner.namespace))
        one_source = bool(query.finetuner) != (query.connector in connectors)
        if named & declared - set(connectors) or not one_source:
            return None  # what it reads is itself wrong or missing, which is reported elsewhere
        return plan_query(query, self.resources, streams=self.streams, look=self.look)


def plan_query(query: DeclaredQuery, resources: Iterable[Resource], *, streams: str, look: bool) -> QueryPlan | None:
    """The engine's plan of a query; None where the schema of an input is not known yet. InvalidQueryError."""
    inputs = query_inputs(query, resources)
    found = [_stream_input(one, look) for one in inputs.streams]
    tables = [_static_table(one, look) for one in inputs.tables]
    if any(one is None for one in (*found, *tables)):
        return None
    spec = QuerySpec(query.sql, [one for one in found if one], [one for one in tables if one], query.timeline)
    return open_engine(streams).plan(spec)


def _query_problem(query: DeclaredQuery, error: InvalidQueryError) -> Problem:
    place = re.search(r"line (\d+), column (\d+)", error.where or "")
    message = f"{error.message}, at {error.where} of the query" if error.where else error.message
    problem = Problem(query.place, f"the query is wrong: {message}", hint=error.next_step)
    return replace(problem, text_line=int(place[1])) if place else problem


def _stream_input(binding: StreamBinding, look: bool) -> StreamInput | None:
    if binding.source is None:
        return StreamInput(binding.name, EXAMPLE_COLUMNS, binding.topic, "event_time", binding.out_of_orderness_ms)
    schema = _schema(binding.source, look)
    if schema is None:
        return None
    time = binding.source.event_time
    return StreamInput(binding.name, schema, binding.topic, time.column, time.out_of_orderness_ms)


def _schema(options: SourceOptions, look: bool) -> RowSchema | None:
    if options.schema is not None or not look:
        return options.schema
    rows = sample(options)
    return rows.schema if rows else None


def _static_table(binding: TableBinding, look: bool) -> StaticTable | None:
    options = binding.source
    if options.schema is not None:
        table = options.schema.to_arrow().empty_table()
    else:
        rows: RowBatch | None = sample(options) if look else None
        if rows is None:
            return None
        table = rows.table.slice(0, 0)
    return StaticTable(binding.name, table, binding.valid_from, options.key)
