"""Windows that cover each other many times, summed up by panes: only so are floating sums added in the same order on every engine."""

import pyarrow as pa

from headrace.streams.expression import AggregateCall, Ref, slots_of
from headrace.streams.flink.sql.aggregates import chosen, least_or_most, numbered, sum_sql
from headrace.streams.flink.sql.casts import fits, unsigned_zero
from headrace.streams.flink.sql.expressions import expression_sql, key_sql
from headrace.streams.flink.sql.types import inner_type
from headrace.streams.functions import FUNCTIONS
from headrace.streams.logical_plan import Aggregate, Frame, Project, Window
from headrace.streams.sql_types import category

PANES_FROM = 8
"""As often must windows cover each other for panes to be formed."""


def pane_frame(aggregate: Aggregate) -> Frame | None:
    """The frame of the window right below, where its aggregates are computed from panes; None: from rows."""
    below = aggregate.source
    while isinstance(below, Project) and below.where is None:
        below = below.source
    if not isinstance(below, Window) or below.frame.kind not in ("HOP", "CUMULATE") or below.frame.overlap < PANES_FROM:
        return None
    borders = {
        below.slots.start,
        below.slots.end,
        below.slots.time,
        aggregate.window.start,
        aggregate.window.end,
        aggregate.window.time,
    }
    read = [one for _, one in aggregate.keys if not isinstance(one, Ref)] + [call for _, call in aggregate.aggregates]
    source = aggregate.source
    while isinstance(source, Project):
        read += [one for _, one in source.columns if not isinstance(one, Ref)]
        source = source.source
    whole = any(call.distinct or not FUNCTIONS[call.name].decomposable for _, call in aggregate.aggregates)
    return None if whole or any(slots_of(one) & borders for one in read) else below.frame


def pane_halves(column: str, call: AggregateCall) -> tuple[dict[str, str], str]:
    """The columns of a pane, and the aggregate over panes."""
    where = f" FILTER (WHERE {expression_sql(call.where)})" if call.where is not None else ""
    value = expression_sql(call.arguments[0]) if call.arguments else "*"
    part = f"_h_{column}"
    if call.name == "COUNT":
        return {part: f"COUNT({value}){where}"}, f"SUM({part})"
    kind = call.arguments[0].type
    if call.name in ("MIN", "MAX"):
        return {part: f"{call.name}({key_sql(call.arguments[0])}){where}"}, f"{call.name}({part})"
    if call.name in ("FIRST_VALUE", "LAST_VALUE"):
        function = least_or_most(call)
        return {part: f"{function}({numbered(value)}){where}"}, chosen(f"{function}({part})", kind)
    summed = {part: sum_sql(value, kind, call.type, where, whole=False)}
    total = unsigned_zero(f"SUM({part})") if pa.types.is_floating(kind) else f"SUM({part})"
    if call.name == "AVG":
        count = f"{part}_n"
        return summed | {
            count: f"COUNT({value}){where}"
        }, f"(CAST({total} AS DOUBLE) / CAST(NULLIF(SUM({count}), CAST(0 AS BIGINT)) AS DOUBLE))"
    if category(kind) == "integer":
        return summed, fits(total, call.type)
    return summed, f"TRY_CAST({total} AS {inner_type(call.type)})"
