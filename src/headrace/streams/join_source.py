"""Joins: with a static table, or with a version of another stream; never of two streams without limit."""

from collections.abc import Callable, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc
from sqlglot import exp

from headrace.events.schema import arrow_type, type_name
from headrace.streams.binder import Binder, Name
from headrace.streams.expression import (
    Call,
    Expression,
    Ref,
    Slot,
    conjuncts,
    slots_of,
)
from headrace.streams.logical_plan import (
    JoinKind,
    StreamJoin,
    TableJoin,
)
from headrace.streams.scope import Context, Scope
from headrace.streams.stream_engine import StaticTable


def join(
    context: Context,
    scope: Scope,
    node: exp.Join,
    known: Mapping[str, exp.Expr],
    source: Callable[[exp.Expr, Mapping[str, exp.Expr]], Scope],
) -> Scope:
    """The scope with one more input joined to it. `source`: finds a stream."""
    kind = _join_kind(context, node)
    right, version = node.this, node.this.args.get("version")
    context.must_be_grouped(scope)
    table = _static_table(context, right, known)
    if table is None and version is None:
        raise context.refuse(
            right,
            "a join of two streams keeps both without limit",
            "join a version: … JOIN b FOR SYSTEM_TIME AS OF a.event_time AS b ON a.k = b.k",
        )
    if version is not None:
        _check_version(context, scope, version)
    if table is not None:
        return _join_table(context, scope, node, table, kind)
    other = source(right, known)
    context.must_be_grouped(other)
    if scope.time is None or other.time is None:
        raise context.refuse(
            right, "both sides of a join need their event time", "declare eventTime.column, and select it unchanged"
        )
    if right.alias_or_name in {one.qualifier for one in scope.names}:
        raise context.refuse(right, f"two inputs are named {right.alias_or_name}", "give one an alias: … AS b")
    pairs: list[tuple[Slot, Slot]] = []
    for left, column in _join_keys(context, node, scope, other.names):
        if not isinstance(left, Ref):
            raise context.refuse(
                node.args["on"],
                "streams are joined by columns of equal types",
                "compute the key in a WITH query first",
            )
        pairs.append((left.slot, column))
    relation = StreamJoin(scope.relation, other.relation, kind, tuple(pairs))
    return Scope(relation, [*scope.names, *other.names], scope.time, scope.window)


def _join_kind(context: Context, node: exp.Join) -> JoinKind:
    side, kind = str(node.args.get("side") or ""), str(node.args.get("kind") or "")
    if node.args.get("using"):
        raise context.refuse(node, "USING is not supported", "write ON a.k = b.k")
    if side in ("RIGHT", "FULL") or kind in ("CROSS", "SEMI", "ANTI", "OUTER") or node.args.get("method"):
        name = " ".join(word for word in (str(node.args.get("method") or ""), side, kind) if word)
        raise context.refuse(node, f"{name} JOIN is not supported", "write JOIN or LEFT JOIN")
    if node.args.get("on") is None:
        raise context.refuse(node, "a join needs a condition", "write ON a.k = b.k")
    return "LEFT" if side == "LEFT" else "INNER"


def _static_table(context: Context, node: exp.Expr, known: Mapping[str, exp.Expr]) -> StaticTable | None:
    if not isinstance(node, exp.Table) or not isinstance(node.this, exp.Identifier) or node.name in known:
        return None
    context.check_modifiers(node)
    return next((one for one in context.spec.tables if one.name == node.name), None)


def _check_version(context: Context, scope: Scope, version: exp.Version) -> None:
    expression = version.expression
    slot = Binder(context.sql, scope.names).slot(expression) if isinstance(expression, exp.Column) else None
    if slot is None or slot != scope.time:
        name = next(
            (f"{one.qualifier}.{one.name}" for one in scope.names if one.slot == scope.time),
            "the event time of the left side",
        )
        raise context.refuse(
            version, "a version is joined as of the left side's event time", f"FOR SYSTEM_TIME AS OF {name}"
        )


def _join_table(context: Context, scope: Scope, node: exp.Join, table: StaticTable, kind: JoinKind) -> Scope:
    alias = node.this.alias_or_name
    columns = tuple((one.name, context.new_slot(_plain(one.type))) for one in table.table.schema)
    names = [Name(alias, name, slot) for name, slot in columns]
    if alias in {one.qualifier for one in scope.names}:
        raise context.refuse(node.this, f"two inputs are named {alias}", "give one an alias: … AS b")
    by_slot = {slot: name for name, slot in columns}
    on = tuple((left, by_slot[column]) for left, column in _join_keys(context, node, scope, names))
    _check_unique(context, node, table, [column for _, column in on])
    relation = TableJoin(scope.relation, table, columns, kind, on)
    return Scope(relation, [*scope.names, *names], scope.time, scope.window)


def _join_keys(context: Context, node: exp.Join, scope: Scope, right: Sequence[Name]) -> list[tuple[Expression, Slot]]:
    """(expression of the left side, column of the right side) of every `=` in ON."""
    condition = Binder(context.sql, [*scope.names, *right]).bind_boolean(node.args["on"], "ON")
    right_slots = {one.slot for one in right}
    pairs: list[tuple[Expression, Slot]] = []
    for part in conjuncts(condition):
        sides = part.arguments if isinstance(part, Call) and part.name == "=" else ()
        pair = next(
            ((left, column.slot) for left, column in (sides, sides[::-1]) if isinstance(column, Ref) and column.slot in right_slots and not slots_of(left) & right_slots),
            None,
        ) if sides else None  # fmt: skip
        if pair is None:
            raise context.refuse(
                node.args["on"],
                "a join is by columns that are equal, and of one type",
                "write ON a.k = b.k, and the rest into WHERE",
            )
        pairs.append(pair)
    return pairs


def _check_unique(context: Context, node: exp.Join, table: StaticTable, keys: list[str]) -> None:
    columns = [*keys, *([table.valid_from] if table.valid_from else [])]
    if table.valid_from and table.valid_from not in table.table.column_names:
        raise context.refuse(node.this, f"the table {table.name} has no column {table.valid_from}", "correct validFrom")
    counts = table.table.group_by(columns, use_threads=False).aggregate([([], "count_all")])
    repeated = counts.filter(pc.field("count_all") > 1)
    if repeated.num_rows:
        first = {name: repeated[name][0].as_py() for name in columns}
        raise context.refuse(
            node.this, f"the table {table.name} has several rows for {first}", "join it by a key that is unique"
        )


def _plain(kind: pa.DataType) -> pa.DataType:
    """A table's column type as SQL knows it."""
    return arrow_type(type_name(kind))
