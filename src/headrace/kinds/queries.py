"""Checks queries with the engine's own planner, and prompts against the columns that the queries give."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

from headrace.connectors.source import SourceOptions
from headrace.events.row_batch import RowBatch
from headrace.events.schema import RowSchema
from headrace.foundation.errors import HeadraceError, InvalidQueryError
from headrace.kinds.document import Location
from headrace.kinds.inputs import (
    SOURCE_STREAM,
    connectors_of,
    finetuners_of,
    named_tables,
    query_inputs,
    source_options,
)
from headrace.kinds.kind import Draft, Problem, World
from headrace.kinds.mistake import listed, nearest, sentence
from headrace.kinds.resource import Resource
from headrace.kinds.samples import sample
from headrace.kinds.stream_finetuner.checks import KNOWLEDGE, prompt_fields, query_location
from headrace.kinds.stream_finetuner.spec import StreamFinetunerSpec
from headrace.stages.options import StreamBinding, TableBinding
from headrace.stages.row_source import EXAMPLE_COLUMNS
from headrace.streams.registry import open_engine
from headrace.streams.stream_engine import QueryPlan, QuerySpec, StaticTable, StreamInput


@dataclass(frozen=True, slots=True)
class QueryChecker:
    """Checks the queries of finetuners against everything that is declared."""

    resources: Sequence[Resource]
    """Those that are right."""
    world: World
    """All that are declared, right or not."""
    streams: str
    look: bool
    """Whether a source's first records may be looked at."""

    def problems(self, finetuner: Resource) -> Iterator[Problem]:
        """What is wrong with a finetuner's query and with the columns that its prompts take from it."""
        draft = Draft(*finetuner.key, dict(finetuner.raw))
        try:
            unknown = list(self._unknown(finetuner, draft))
            yield from unknown
            plan = None if unknown else self._plan(finetuner)
        except InvalidQueryError as error:
            yield _query_problem(draft, error)
            return
        except HeadraceError as error:
            yield Problem(_query_place(draft), f"the query could not be checked: {error}", warning=True)
            return
        if plan is not None:
            yield from check_prompts(draft, plan.output)

    def _unknown(self, finetuner: Resource, draft: Draft) -> Iterator[Problem]:
        """Names in the query that no source has."""
        sql = cast("StreamFinetunerSpec", finetuner.spec).processing.pre_processing_sql
        drafts = (
            self.world.find("StreamConnector", draft.namespace, name)
            for name in self.world.names("StreamConnector", draft.namespace)
        )
        known = (SOURCE_STREAM, *(one.name for one in drafts if one and one.text("direction") != "sink"))
        for name, where in named_tables(sql).items():
            if name not in known and name.lower() != SOURCE_STREAM:
                error = InvalidQueryError(f"there is no stream {name!r}", where=where)
                yield replace(_query_problem(draft, error), valid=listed(known), near=nearest(name, known))

    def _plan(self, finetuner: Resource) -> QueryPlan | None:
        spec = cast("StreamFinetunerSpec", finetuner.spec)
        source = spec.finetuner_info.data_source
        connectors = connectors_of(self.resources, finetuner.namespace)
        named = {*named_tables(spec.processing.pre_processing_sql), source.source_stream_connector}
        declared = set(self.world.names("StreamConnector", finetuner.namespace))
        one_source = bool(source.source_stream_finetuner) != (source.source_stream_connector in connectors)
        if named & declared - set(connectors) or not one_source:
            return None  # what it reads is itself wrong or missing, which is said elsewhere
        finetuners = finetuners_of(self.resources, finetuner.namespace)
        return plan_query(finetuner, connectors, finetuners, streams=self.streams, look=self.look)


def plan_query(
    finetuner: Resource,
    connectors: Mapping[str, Resource],
    finetuners: Mapping[str, Resource],
    *,
    streams: str,
    look: bool,
) -> QueryPlan | None:
    """The engine's plan of a finetuner's query; None where the schema of an input is not known yet. InvalidQueryError."""
    inputs = query_inputs(finetuner, connectors, finetuners)
    found = [_stream_input(one, connectors, look) for one in inputs.streams]
    tables = [_static_table(one, look) for one in inputs.tables]
    if any(one is None for one in (*found, *tables)):
        return None
    spec = cast("StreamFinetunerSpec", finetuner.spec)
    query = QuerySpec(
        spec.processing.pre_processing_sql,
        [one for one in found if one],
        [one for one in tables if one],
        "event" if spec.timeline == "event" else "arrival",
    )
    return open_engine(streams).plan(query)


def check_prompts(draft: Draft, output: RowSchema) -> Iterator[Problem]:
    """Every `{column}` and the ground truth's column are given by the query."""
    columns = output.names
    for location, name in prompt_fields(draft):
        if name not in columns and name != KNOWLEDGE:
            yield Problem(location, f"the query gives no column {name!r}", listed(columns), nearest(name, columns))
    truth = draft.text("groundTruth", "column")
    if truth is None:
        return
    if truth not in columns:
        yield Problem(
            ("groundTruth", "column"), f"the query gives no column {truth!r}", listed(columns), nearest(truth, columns)
        )
    for location, name in prompt_fields(draft):
        if name == truth:
            yield Problem(location, f"the answer {{{truth}}} stands in the question", warning=True)


def _query_place(draft: Draft) -> Location:
    return query_location(draft) or ("finetunerInfo", "dataSource")


def _query_problem(draft: Draft, error: InvalidQueryError) -> Problem:
    place = re.search(r"line (\d+), column (\d+)", error.where or "")
    message = f"{error.message}, at {error.where} of the query" if error.where else error.message
    problem = Problem(_query_place(draft), f"the query is wrong: {message}", hint=sentence(error.next_step))
    return replace(problem, text_line=int(place[1])) if place else problem


def _stream_input(binding: StreamBinding, connectors: Mapping[str, Resource], look: bool) -> StreamInput | None:
    if binding.finetuner:
        return StreamInput(binding.name, EXAMPLE_COLUMNS, binding.topic, "event_time", binding.out_of_orderness_ms)
    options = source_options(connectors[binding.connector])
    schema = _schema(options, look)
    if schema is None:
        return None
    time = options.event_time
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
