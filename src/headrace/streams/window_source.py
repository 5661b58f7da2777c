"""Window table functions in FROM: which windows, over what, by which time."""

from collections.abc import Callable, Mapping

import pyarrow as pa
from sqlglot import exp

from headrace.streams.binder import Binder, Name
from headrace.streams.dialect import WindowTable
from headrace.streams.expression import (
    Duration,
    Ref,
    Slot,
)
from headrace.streams.logical_plan import (
    Frame,
    Window,
    WindowKind,
    WindowSlots,
)
from headrace.streams.scope import WINDOW_COLUMNS, Context, Scope


def window(context: Context, node: WindowTable, named: Callable[[str, exp.Expr], Scope]) -> Scope:
    """The rows of an input in their windows. `named`: finds the input."""
    arguments = {one.this.name: one.expression for one in node.args["arguments"]}
    table = arguments["DATA"]
    if table.args.get("db"):
        raise context.refuse(
            table, "an input has a name of one part", f"declared inputs: {', '.join(context.input_names())}"
        )
    source = named(table.name, table).requalified(table.name)
    context.must_be_grouped(source)
    binder = Binder(context.sql, source.names)
    time = binder.slot(arguments["TIMECOL"])
    _check_time(context, arguments["TIMECOL"], time, source)
    partition = [binder.bind(one) for one in node.args.get("partition") or ()]
    if node.args["kind"] != "SESSION" and partition:
        raise context.refuse(node, "only SESSION takes PARTITION BY", "write the keys into GROUP BY")
    if any(not isinstance(one, Ref) for one in partition):
        raise context.refuse(node, "PARTITION BY of SESSION takes columns", "compute it in a WITH query first")
    unit = pa.timestamp("ms", tz=time.type.tz if pa.types.is_timestamp(time.type) else "UTC")
    slots = WindowSlots(context.new_slot(unit), context.new_slot(unit), context.new_slot(unit))
    keys = tuple(one for one in partition if isinstance(one, Ref))
    relation = Window(source.relation, _frame(context, node, arguments), slots, keys)
    names = [one for one in source.names if one.name not in WINDOW_COLUMNS]
    added = zip(WINDOW_COLUMNS, (slots.start, slots.end, slots.time), strict=True)
    names += [Name("", name, slot) for name, slot in added if slot is not None]
    return Scope(relation, names, slots.time, slots, loose=node)


def _check_time(context: Context, node: exp.Expr, slot: Slot, source: Scope) -> None:
    if source.time == slot:
        return
    if source.time is None:
        raise context.refuse(
            node,
            "the input has no event time here",
            "declare eventTime.column, and select that column (or window_time) unchanged",
        )
    name = next((one.name for one in source.names if one.slot == source.time), "event time")
    raise context.refuse(node, f"{node.name} is not the event time of this input", f"write DESCRIPTOR({name})")


def _frame(context: Context, node: WindowTable, arguments: Mapping[str, exp.Expr]) -> Frame:
    lengths = {name: _length(context, value) for name, value in arguments.items() if name not in ("DATA", "TIMECOL")}
    kind: WindowKind = node.args["kind"]
    size = lengths["GAP" if kind == "SESSION" else "SIZE"]
    step = lengths.get("SLIDE") or lengths.get("STEP") or size
    offset = lengths.get("OFFSET", 0)
    for name, length in lengths.items():
        if length <= 0 and name != "OFFSET":
            raise context.refuse(arguments[name], f"{name} must be longer than nothing", "INTERVAL '1' MINUTE")
    if size % step:
        raise context.refuse(
            node,
            f"{kind}'s size is no multiple of its {'slide' if kind == 'HOP' else 'step'}",
            "the shorter INTERVAL comes first",
        )
    return Frame(kind, size, step, offset)


def _length(context: Context, node: exp.Expr) -> int:
    bound = Binder(context.sql, []).bind(node)
    if not isinstance(bound, Duration) or bound.months:
        raise context.refuse(node, "a window has a fixed length", "use SECOND, MINUTE, HOUR or DAY")
    return bound.milliseconds
