"""Checks queries with the engine's own planner, and prompts against the columns that the queries give."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import cast

from headrace.connectors.source import SourceOptions
from headrace.events.row_batch import RowBatch
from headrace.events.schema import RowSchema
from headrace.foundation.errors import HeadraceError, InvalidQueryError
from headrace.kinds.document import Location
from headrace.kinds.inputs import connectors_of, query_inputs, source_options
from headrace.kinds.kind import Draft, Problem
from headrace.kinds.mistake import listed, nearest
from headrace.kinds.resource import Resource
from headrace.kinds.samples import sample
from headrace.kinds.stream_finetuner.checks import KNOWLEDGE, prompt_fields, query_location
from headrace.kinds.stream_finetuner.spec import StreamFinetunerSpec
from headrace.stages.options import StreamBinding, TableBinding
from headrace.stages.row_source import EXAMPLE_COLUMNS
from headrace.streams.registry import open_engine
from headrace.streams.stream_engine import EngineCapabilities, QueryPlan, QuerySpec, StaticTable, StreamInput

Found = tuple[Resource, Problem]


def check_queries(
    all_resources: Sequence[Resource], fresh: Sequence[Resource], *, streams: str, look: bool
) -> Iterator[Found]:
    """Problems of the finetuners among `fresh`, which may name any of `all_resources`."""
    for finetuner in fresh:
        if finetuner.kind == "StreamFinetuner":
            for problem in _check(finetuner, all_resources, streams, look):
                yield finetuner, problem


def output_columns(
    finetuner: Resource, resources: Sequence[Resource], *, streams: str = "duckdb", look: bool = True
) -> QueryPlan | None:
    """What the query gives; None where the schema of an input is not known yet. InvalidQueryError, InvalidDeclarationError."""
    connectors = connectors_of(resources, finetuner.namespace)
    inputs = query_inputs(finetuner, connectors)
    found = [_stream_input(one, connectors, look) for one in inputs.streams]
    tables = [_static_table(one, look) for one in inputs.tables]
    if any(one is None for one in (*found, *tables)):
        return None
    spec = cast("StreamFinetunerSpec", finetuner.spec)
    return open_engine(streams).plan(
        QuerySpec(
            spec.processing.pre_processing_sql,
            [one for one in found if one],
            [one for one in tables if one],
            "event" if spec.timeline == "event" else "arrival",
        )
    )


def capabilities(streams: str) -> EngineCapabilities:
    """What the chosen engine can do."""
    return open_engine(streams).capabilities


def _check(finetuner: Resource, resources: Sequence[Resource], streams: str, look: bool) -> Iterator[Problem]:
    draft = Draft(finetuner.kind, finetuner.namespace, finetuner.name, dict(finetuner.raw))
    try:
        plan = output_columns(finetuner, resources, streams=streams, look=look)
    except InvalidQueryError as error:
        yield _query_problem(draft, error)
        return
    except HeadraceError as error:
        yield Problem(_query_place(draft), f"the query could not be checked: {error}", warning=True)
        return
    if plan is not None:
        yield from check_prompts(draft, plan.output)


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
    problem = Problem(_query_place(draft), f"the query is wrong: {message}", hint=_sentence(error.next_step))
    return replace(problem, text_line=int(place[1])) if place else problem


def _sentence(text: str | None) -> str | None:
    return f"{text[0].upper()}{text[1:]}{'' if text.endswith('.') else '.'}" if text else None


def _stream_input(binding: StreamBinding, connectors: dict[str, Resource], look: bool) -> StreamInput | None:
    if binding.finetuner:
        return StreamInput(binding.name, EXAMPLE_COLUMNS, binding.topic, "event_time")
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
