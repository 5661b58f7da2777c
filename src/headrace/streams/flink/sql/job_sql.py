"""A query as one INSERT: its rows, its late rows and its inputs' signs, all into one topic.

Records of the output are JSON objects; `x` says what they are. `row`: `c0` … in the order of the query's columns; without windows
`id`, `key`, `t`, `g`, `o` (offset) of the source's record; of windows `ws`, `we`, `g`, `r` (rank) and the identity `i0` …
`late`: `n` (input), `o`, `b` (ms too late). `sign`: `n`, `s` (end, idle), `o`.
"""

import hashlib
from collections.abc import Container, Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from headrace.foundation.errors import InvalidQueryError
from headrace.streams.expression import Ref
from headrace.streams.flink.sql.deferred import deferred_columns
from headrace.streams.flink.sql.joins import write_stream_join, write_table_join
from headrace.streams.flink.sql.refusals import refusals
from headrace.streams.flink.sql.sources import write_signs, write_sources
from headrace.streams.flink.sql.tables import Table, sink_table
from headrace.streams.flink.sql.types import read_type, text
from headrace.streams.flink.sql.views import View, Views
from headrace.streams.logical_plan import Aggregate, LogicalPlan, Project, Rank, Relation, TableJoin
from headrace.streams.prune import optimise
from headrace.streams.stream_job import JobSpec
from headrace.streams.validate import plan_query

SETTINGS: Mapping[str, str] = {
    "table.local-time-zone": "UTC",
    "table.optimizer.agg-phase-strategy": "ONE_PHASE",  # two phases would add floating sums up in another order
    "pipeline.operator-chaining.enabled": "false",  # a source that passes over what is no JSON would swallow its followers' errors too
}


@dataclass(frozen=True, slots=True)
class JobSql:
    """What a session of Flink runs."""

    statements: tuple[str, ...]
    """CREATE TEMPORARY TABLE and VIEW, in order."""
    insert: str
    digest: str
    """Of the job's graph: equal digests mean that a savepoint of one fits the other."""
    settings: Mapping[str, str] = field(default_factory=dict[str, str])
    """What the session must set beside its own, behind them."""


def write_job(job: JobSpec) -> JobSql:
    """The SQL of a job. InvalidQueryError: the query cannot give on Flink what it gives elsewhere."""
    logical = plan_query(job.query)
    root = optimised(logical)
    if problems := refusals(logical):
        raise InvalidQueryError(problems[0][0], next_step=problems[0][1])
    later = deferred_columns(logical, root)
    views = Views(
        table_join=lambda views, join: write_table_join(views, join, job),
        stream_join=write_stream_join,
        deferred=frozenset(slot for slot, _ in later.values()),
    )
    tables = write_sources(job, root, views)
    view = views.write(root)
    columns = _output_columns(logical, view, later)
    selects = [_rows(logical, view, columns)]
    selects += [
        _only(columns, {"x": "'late'", "n": text(one.stream), "o": "_off", "b": "_by"}, one.view) for one in views.late
    ]
    for number, select in enumerate(write_signs(tables)):
        signs = _gated(views, views.add(f"signs{number}", select, ("_input", "_sign", "_off")))
        selects.append(_only(columns, {"x": "'sign'", "n": "_input", "s": "_sign", "o": "_off"}, signs.name))
    sink = sink_table("output", job.output, columns, job.name, job.options)
    insert = "INSERT INTO output\n" + "\nUNION ALL\n".join(selects)
    made = [*(one.table for one in tables.values()), *views.tables]
    settings = dict(SETTINGS)
    if views.serial:
        settings["parallelism.default"] = "1"
    statements = (*(one.statement() for one in (*made, sink)), *views.statements)
    return JobSql(statements, insert, _digest([*made, sink], views.statements, insert, settings), settings)


def optimised(logical: LogicalPlan) -> Relation:
    """The tree that is run."""
    return optimise(logical.root, {slot for _, slot in logical.columns})


def identity_types(relation: Relation) -> tuple[pa.DataType, ...]:
    """The types of what tells rows of one window apart: the keys of the topmost grouping or ranking."""
    while isinstance(relation, Project | TableJoin):
        relation = relation.source
    if isinstance(relation, Rank):
        return tuple(one.type for one in relation.partition)
    if not isinstance(relation, Aggregate):
        return ()
    borders = {relation.window.start, relation.window.end, relation.window.time}
    keys = (one for _, one in relation.keys if not (isinstance(one, Ref) and one.slot in borders))
    return tuple(one.type for one in keys)


def _gated(views: Views, signs: View) -> View:
    """The signs, none before every static table is read: a sign says that all rows before it have come out."""
    for gate in list(views.gates):
        items = ", ".join(f"s.{one}" for one in signs.columns)
        signs = views.add(
            "gated", f"SELECT {items}\nFROM {signs.name} AS s\nJOIN {gate} AS t ON t._end = 'end'", signs.columns
        )
    return signs


def _output_columns(logical: LogicalPlan, view: View, later: Container[int]) -> dict[str, str]:
    columns = {"x": "STRING"}
    for place, (_, slot) in enumerate(logical.columns):
        columns[f"c{place}"] = "ARRAY<DOUBLE>" if place in later else _outer(slot.type)
    columns |= {
        "id": "STRING",
        "key": "STRING",
        "t": "BIGINT",
        "g": "BIGINT",
        "o": "BIGINT",
        "n": "STRING",
        "s": "STRING",
        "b": "BIGINT",
    }
    if view.has("_we"):
        columns |= {"ws": "BIGINT", "we": "BIGINT", "r": "BIGINT"}
        columns |= {f"i{place}": "STRING" for place in range(view.keys)}
    return columns


def _outer(kind: pa.DataType) -> str:
    """How a column goes out: DECIMAL as text, for its digits."""
    return "STRING" if pa.types.is_decimal(kind) else read_type(kind)


def _rows(logical: LogicalPlan, view: View, columns: Mapping[str, str]) -> str:
    values = {"x": "'row'"}
    for place, (_, slot) in enumerate(logical.columns):
        values[f"c{place}"] = slot.column
    if view.has("_we"):
        values |= {"g": "_g", "ws": "_ws", "we": "_we", "r": "_r" if view.has("_r") else "CAST(0 AS BIGINT)"}
        values |= {f"i{place}": f"CAST(_k{place} AS STRING)" for place in range(view.keys)}
    else:
        values |= {"id": "_id", "key": "_key", "t": "_t", "g": "_g", "o": "_off"}
    return _only(columns, values, view.name)


def _only(columns: Mapping[str, str], values: Mapping[str, str], source: str) -> str:
    items = [f"CAST({values.get(label, 'NULL')} AS {kind}) AS {label}" for label, kind in columns.items()]
    return f"SELECT {', '.join(items)}\nFROM {source}"


def _digest(tables: list[Table], views: list[str], insert: str, settings: Mapping[str, str]) -> str:
    parts = [*(one.shape() for one in tables), *views, insert, *(f"{key}={value}" for key, value in settings.items())]
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()
