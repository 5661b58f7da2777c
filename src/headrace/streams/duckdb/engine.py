"""Plans queries and builds them of steps."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from headrace.events.row_batch import RowBatch
from headrace.events.schema import type_name
from headrace.foundation.errors import InvalidQueryError
from headrace.streams.duckdb.arrow_form import inner_type, inward
from headrace.streams.duckdb.connection import Database, Error
from headrace.streams.duckdb.flow import Step
from headrace.streams.duckdb.join_step import JoinStep
from headrace.streams.duckdb.numbers import from_numbers, from_texts
from headrace.streams.duckdb.pane_step import PaneStep, pane_note, pane_sql
from headrace.streams.duckdb.query import DuckDBQuery, Leaf, Machine, Node
from headrace.streams.duckdb.session_step import SessionStep
from headrace.streams.duckdb.sql_step import SqlStep
from headrace.streams.duckdb.sql_writer import table_name, write
from headrace.streams.duckdb.window_output import WindowOutput
from headrace.streams.duckdb.window_step import WindowStep
from headrace.streams.expression import Slot
from headrace.streams.logical_plan import LogicalPlan, Relation, Scan, StreamJoin, TableJoin, Window, relations
from headrace.streams.planning import describe
from headrace.streams.prune import optimise, output_slots
from headrace.streams.stream_engine import (
    EngineCapabilities,
    EngineOptions,
    QueryPlan,
    QuerySpec,
    StreamInput,
    StreamQuery,
)
from headrace.streams.validate import plan_query

CAPABILITIES = EngineCapabilities(
    name="duckdb",
    in_process=True,
    shapes=frozenset({"stateless", "window", "rank", "join"}),
)


class DuckDBEngine:
    """The port's `StreamEngine`, in this process."""

    def __init__(self, options: Mapping[str, str] | None = None) -> None:
        del options  # it has none

    @property
    def capabilities(self) -> EngineCapabilities:
        return CAPABILITIES

    def plan(self, spec: QuerySpec) -> QueryPlan:
        logical = plan_query(spec)
        root = _optimised(logical)
        windows = [one for one in relations(root) if isinstance(one, Window)]
        plan = describe(spec, logical, [note for one in windows if (note := pane_note(root, one)) is not None])
        self._rehearse(spec, plan)
        return plan

    def _rehearse(self, spec: QuerySpec, plan: QueryPlan) -> None:
        """Runs the query over a row of NULLs, so that what DuckDB itself refuses (a regular expression, say) is told now."""
        query = self.start(spec, plan, {}, EngineOptions())
        try:
            outputs = [query.process(one.name, _row_of_nulls(one)) for one in spec.inputs if one.name in plan.inputs]
            outputs += [query.end_of_input(name) for name in plan.inputs]
            outputs += [query.caught_up(name, query.newest_arrival()) for name in plan.inputs]
        except Error as error:
            raise InvalidQueryError(f"DuckDB refuses the query: {str(error).splitlines()[0]}") from error
        for _, letter in (dead for output in outputs for dead in output.dead):
            raise InvalidQueryError(letter.reason, next_step="correct the constants of the query")

    def start(
        self, spec: QuerySpec, plan: QueryPlan, state: Mapping[str, bytes], options: EngineOptions
    ) -> StreamQuery:
        logical = plan_query(spec)
        database = Database(options)
        builder = _Builder(database, plan, {one.name: one.topic for one in spec.inputs})
        outputs = tuple(slot for _, slot in logical.columns)
        builder.build(_optimised(logical), outputs, named=True)
        return DuckDBQuery(spec, plan, builder.machine, tuple(slot.column for slot in outputs), state)


def _row_of_nulls(stream: StreamInput) -> RowBatch:
    schema = stream.schema.to_arrow()
    table = pa.table([pa.nulls(1, field.type) for field in schema], schema=schema)
    text, zero = from_texts([""]), from_numbers(np.zeros(1, np.int64))
    return RowBatch(table, stream.schema, text, text, zero, zero, text, zero)


def _optimised(logical: LogicalPlan) -> Relation:
    return optimise(logical.root, {slot for _, slot in logical.columns})


class _Builder:
    """Makes the steps of a plan, from the top down."""

    def __init__(self, database: Database, plan: QueryPlan, topics: Mapping[str, str]) -> None:
        self._database, self._plan, self._topics = database, plan, topics
        self.machine = Machine()

    def build(self, relation: Relation, outputs: tuple[Slot, ...], *, named: bool) -> Node | Leaf:
        """The top of the steps that give a relation's columns `outputs`."""
        for one in _tables(relation):
            self._register(one)
        fragment = write(relation)
        base = fragment.base
        if isinstance(base, Window):
            return self._window(relation, base, outputs, named=named)
        if isinstance(base, StreamJoin):
            below: Node | Leaf = self._join(base, named=named)
        else:
            assert isinstance(base, Scan)
            below = Leaf(base, named)
            self.machine.leaves.append(below)
        return self._add(SqlStep(self._database, relation, outputs), below)

    def _add(self, step: Step, *below: Node | Leaf) -> Node:
        node = Node(step, f"{len(self.machine.nodes)}/")
        for port, one in enumerate(below):
            one.parent, one.port = node, port
        self.machine.nodes.append(node)
        return node

    def _window(self, relation: Relation, window: Window, outputs: tuple[Slot, ...], *, named: bool) -> Node:
        columns = _sorted(window.source)
        below = self.build(window.source, columns, named=False)
        prefix = f"{len(self.machine.nodes)}/"
        topics = tuple(self._topics[name] for name in self._plan.inputs)
        panes = pane_sql(relation, window)
        fragment = write(relation, (panes.aggregate, panes.combined) if panes is not None else None)
        output = WindowOutput(self._database, fragment, outputs, self._plan.digest, topics, named=named)
        if window.frame.kind == "SESSION":
            keys = tuple(one.slot.column for one in window.partition)
            step: Step = SessionStep(window.frame, keys, output, prefix)
        elif panes is not None:
            step = PaneStep(self._database, window.frame, panes, output, prefix)
        else:
            step = WindowStep(window.frame, output, prefix)
        return self._add(step, below)

    def _join(self, join: StreamJoin, *, named: bool) -> Node:
        right = _sorted(join.other)
        below = (self.build(join.source, _sorted(join.source), named=named), self.build(join.other, right, named=False))
        prefix = f"{len(self.machine.nodes)}/"
        shared = bool(_streams(join.source) & _streams(join.other))
        return self._add(JoinStep(self._database, join, right, prefix, named=named, shared=shared), *below)

    def _register(self, join: TableJoin) -> None:
        table = pa.table(
            [inward(join.table.table[name], slot.type) for name, slot in join.columns],
            names=[slot.column for _, slot in join.columns],
        )
        if join.table.valid_from is not None:
            table = table.append_column("_v", _milliseconds(join))
        self._database.register(table_name(join), table)


def _milliseconds(join: TableJoin) -> pa.ChunkedArray:
    """Since when each version is true, ms since 1970 UTC."""
    assert join.table.valid_from is not None
    column = join.table.table[join.table.valid_from]
    if not pa.types.is_timestamp(column.type):
        raise InvalidQueryError(
            f"{join.table.name}.{join.table.valid_from} is {type_name(column.type)}, not a time",
            next_step="declare it as TIMESTAMP_LTZ(3)",
        )
    return column.cast(inner_type(column.type)).cast(pa.timestamp("ms"), safe=False).cast(pa.int64())


def _tables(relation: Relation) -> list[TableJoin]:
    return [one for one in relations(relation) if isinstance(one, TableJoin)]


def _streams(relation: Relation) -> set[str]:
    return {one.stream.name for one in relations(relation) if isinstance(one, Scan)}


def _sorted(relation: Relation) -> tuple[Slot, ...]:
    return tuple(sorted(output_slots(relation), key=lambda one: one.column))
