"""What every engine says of a query before it runs."""

import hashlib
from collections.abc import Sequence

from headrace.events.schema import Column, RowSchema, type_name
from headrace.streams.dialect import normalised
from headrace.streams.logical_plan import LogicalPlan, Scan, relations
from headrace.streams.stream_engine import QueryPlan, QuerySpec


def describe(spec: QuerySpec, logical: LogicalPlan, notes: Sequence[str] = ()) -> QueryPlan:
    """The plan of a checked query. `notes`: the engine's own, behind those of the query."""
    read = {one.stream.name for one in relations(logical.root) if isinstance(one, Scan)}
    output = RowSchema(tuple(Column(name, type_name(slot.type)) for name, slot in logical.columns))
    names = tuple(one.name for one in spec.inputs if one.name in read)
    return QueryPlan(spec.sql, _digest(spec, names), logical.shape, names, output, (*logical.notes, *notes))


def _digest(spec: QuerySpec, names: tuple[str, ...]) -> str:
    """Of the query's words and what it reads: the same for another lay-out of the same query."""
    parts = [normalised(spec.sql), spec.timeline]
    parts += [f"{one.name} {one.schema} {one.event_time}" for one in spec.inputs if one.name in names]
    parts += [f"{one.name} {one.table.schema.to_string(show_schema_metadata=False)}" for one in spec.tables]
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()
