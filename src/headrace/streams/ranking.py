"""ROW_NUMBER: the first rows of a window, with a bound that the SELECT around it says."""

from dataclasses import replace

import pyarrow as pa
from sqlglot import exp

from headrace.streams.binder import Binder
from headrace.streams.expression import (
    Call,
    Constant,
    Expression,
    Ref,
    Slot,
)
from headrace.streams.logical_plan import (
    Rank,
)
from headrace.streams.scope import RANK_FORM, Context, Scope


def ranked(context: Context, scope: Scope, node: exp.Select) -> tuple[Scope, dict[int, Slot]]:
    """The scope with the row numbers that SELECT asks for, by the node's identity."""
    found = [one for item in node.expressions for one in item.find_all(exp.Window)]
    if not found:
        return scope, {}
    over = found[0]
    if len(found) > 1 or not isinstance(over.this, exp.Anonymous) or over.this.name.upper() != "ROW_NUMBER":
        raise context.refuse(over, "of OVER, one ROW_NUMBER() is supported", "write " + RANK_FORM)
    top = over.parent if isinstance(over.parent, exp.Alias) else over
    if top.parent is not node:
        raise context.refuse(over, "ROW_NUMBER() stands alone as a column", "write " + RANK_FORM)
    if scope.window is None:
        raise context.refuse(over, "ROW_NUMBER without a window would take rows back", "write " + RANK_FORM)
    if scope.rank is not None and scope.rank.limit == 0:
        raise context.refuse(over, "a rank of ranks needs the inner bound first", "write " + RANK_FORM)
    if over.args.get("spec") is not None or over.this.expressions:
        raise context.refuse(over, "ROW_NUMBER takes no arguments and no frame", "write " + RANK_FORM)
    made = _rank(context, scope, over)
    context.rank_nodes.append((made, over))
    return replace(scope, relation=made, rank=made, rank_slot=made.slot, loose=None), {id(over): made.slot}


def _rank(context: Context, scope: Scope, over: exp.Window) -> Rank:
    binder = Binder(context.sql, scope.names)
    partition = [binder.bind(one) for one in over.args.get("partition_by") or ()]
    assert scope.window is not None
    borders = (Ref(scope.window.start), Ref(scope.window.end))
    if any(one not in partition for one in borders):
        raise context.refuse(
            over,
            "PARTITION BY lacks window_start and window_end, so that ranks would never be final",
            "write " + RANK_FORM,
        )
    order = over.args.get("order")
    if order is None:
        raise context.refuse(over, "ROW_NUMBER needs an ORDER BY", "write " + RANK_FORM)
    by = tuple(
        (binder.bind(one.this), bool(one.args.get("desc")), bool(one.args.get("nulls_first")))
        for one in order.expressions
    )
    extra = {Ref(scope.window.time)} if scope.window.time is not None else set[Ref]()
    keys = tuple(one for one in partition if one not in (*borders, *extra))
    return Rank(scope.relation, keys, by, context.new_slot(pa.int64()), scope.window)


def limit_of(part: Expression, slot: Slot) -> int | None:
    """N of `rn <= N`, `rn < N + 1` or `rn = 1`."""
    if not isinstance(part, Call) or len(part.arguments) != 2:
        return None
    left, right, name = *part.arguments, part.name
    if isinstance(left, Constant):
        left, right, name = right, left, {">=": "<=", ">": "<"}.get(name, "")
    value = right.value if isinstance(right, Constant) else None
    if left != Ref(slot) or not isinstance(value, int) or value < 1:
        return None
    return {"<=": value, "<": value - 1, "=": 1 if value == 1 else None}.get(name) or None
