"""GROUP BY: only within windows, so that every group ends."""

from collections.abc import Mapping

from sqlglot import exp

from headrace.streams.binder import Binder, Name
from headrace.streams.expression import (
    AggregateCall,
    Expression,
    Ref,
    Slot,
    slots_of,
    walk,
)
from headrace.streams.expression import replace as replace_parts
from headrace.streams.logical_plan import (
    Aggregate,
    WindowSlots,
)
from headrace.streams.scope import WINDOW_FORM, Context, Scope, label


def aggregate(context: Context, scope: Scope, node: exp.Select) -> Scope:
    """SELECT … GROUP BY … HAVING over a scope that has windows."""
    group = node.args.get("group")
    if scope.window is None:
        raise context.refuse(
            group or node.expressions[0],
            "without a window an aggregate never ends: it would keep state without limit and retract rows",
            WINDOW_FORM,
        )
    if group is None:
        raise context.refuse(
            node.expressions[0], "an aggregate over windows needs a GROUP BY", "GROUP BY window_start, window_end"
        )
    keys = _group_keys(context, scope, node, group)
    source_names = {one.slot: one.name for one in scope.names}
    binder = Binder(context.sql, scope.names, aggregates=True)
    items: list[tuple[str, exp.Expr, Expression]] = []
    for place, item in enumerate(context.items(scope, node)):
        if isinstance(item, Name):
            items.append((item.name, node, Ref(item.slot)))
        else:
            inner = item.unalias() if isinstance(item, exp.Alias) else item
            items.append((label(item, place), item, binder.bind(inner)))
    having = node.args.get("having")
    condition = binder.bind_boolean(having.this, "HAVING") if having is not None else None
    bound = [expression for _, _, expression in items] + ([condition] if condition is not None else [])
    calls = dict.fromkeys(part for one in bound for part in walk(one) if isinstance(part, AggregateCall))
    aggregates = tuple((context.new_slot(call.type), call) for call in calls)
    known: dict[Expression, Expression] = {expression: Ref(slot) for slot, expression in keys}
    known.update({call: Ref(slot) for slot, call in aggregates})
    out = {slot for slot, _ in keys} | {slot for slot, _ in aggregates}
    columns: list[tuple[Slot, Expression]] = []
    for _, item, expression in [
        *items,
        *([("", having, condition)] if condition is not None and having is not None else []),
    ]:
        replaced = replace_parts(expression, known)
        _check_grouped(context, item, replaced, out, source_names)
        columns.append((context.new_slot(context.output_type(item, replaced)), replaced))
    where = columns.pop()[1] if condition is not None else None
    context.check_labels(node, [name for name, _, _ in items])
    moved = {expression.slot: slot for slot, expression in keys if isinstance(expression, Ref)}
    time = moved.get(scope.window.time) if scope.window.time is not None else None
    window = WindowSlots(moved[scope.window.start], moved[scope.window.end], time)
    grouped = Scope(Aggregate(scope.relation, keys, aggregates, scope.window), [], time, window)
    return context.projected(grouped, tuple(columns), [("", name) for name, _, _ in items], where)


def _group_keys(
    context: Context, scope: Scope, node: exp.Select, group: exp.Group
) -> tuple[tuple[Slot, Expression], ...]:
    for clause in ("rollup", "cube", "grouping_sets", "totals", "all", "limit"):
        if group.args.get(clause):
            raise context.refuse(
                group, f"GROUP BY {clause.upper().replace('_', ' ')} is not supported", "list the columns"
            )
    binder = Binder(context.sql, scope.names)
    labels = {item.alias for item in node.expressions if isinstance(item, exp.Alias)}
    keys: dict[Expression, Slot] = {}
    for item in group.expressions:
        if isinstance(item, exp.Literal):
            raise context.refuse(item, "GROUP BY takes no ordinals", "write the column or expression itself")
        plain = isinstance(item, exp.Column) and not item.table
        if plain and item.name in labels and item.name not in {one.name for one in scope.names}:
            raise context.refuse(item, f"GROUP BY takes no alias ({item.name})", "write the expression itself")
        bound = binder.bind(item)
        keys.setdefault(bound, context.new_slot(bound.type))
    assert scope.window is not None
    for slot, name in ((scope.window.start, "window_start"), (scope.window.end, "window_end")):
        if Ref(slot) not in keys:
            raise context.refuse(
                group,
                f"GROUP BY lacks {name}, so that groups would never close",
                "GROUP BY window_start, window_end, …",
            )
    if scope.window.time is not None:
        keys.setdefault(Ref(scope.window.time), context.new_slot(scope.window.time.type))
    return tuple((slot, expression) for expression, slot in keys.items())


def _check_grouped(
    context: Context, item: exp.Expr, expression: Expression, out: set[Slot], names: Mapping[Slot, str]
) -> None:
    for slot in sorted(slots_of(expression) - out, key=lambda one: one.column):
        name = names.get(slot, "a column")
        raise context.refuse(
            item,
            f"{name} is neither grouped by nor aggregated",
            f"add it to GROUP BY, or write FIRST_VALUE({name})",
        )
