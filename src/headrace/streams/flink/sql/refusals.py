"""What the dialect allows and Flink would answer otherwise: refused while planning, with the form that works."""

import re
from collections.abc import Iterator

import pyarrow as pa

from headrace.streams.expression import AggregateCall, Call, Cast, Constant, Expression, Ref, Slot, walk
from headrace.streams.flink.sql.aggregates import DEFERRED, needs_order
from headrace.streams.flink.sql.deferred import deferred_columns
from headrace.streams.flink.sql.panes import pane_frame
from headrace.streams.logical_plan import (
    Aggregate,
    LogicalPlan,
    Project,
    Rank,
    Relation,
    Scan,
    StreamJoin,
    TableJoin,
    Window,
    expressions,
    relations,
    sources,
)
from headrace.streams.prune import optimise, output_slots
from headrace.streams.sql_types import MAX_PRECISION, category

Refusal = tuple[str, str]
"""(why, the form that works)"""
_FIXED_UNITS = ("SECOND", "MINUTE", "HOUR", "DAY", "WEEK")
_LOOKING = re.compile(r"\(\?[=!<]|\\[1-9]|[*+?}]\+")
_PATH = re.compile(r"^\$(\.[\w-]+|\[[0-9]+\])*\Z")
_LONGEST_MS = 999 * 86_400_000
_MOST_ORDERED = 64
"""So many windows at most may a row lie in where floating sums need its place in each."""


def refusals(logical: LogicalPlan) -> tuple[Refusal, ...]:
    """Everything in a query that cannot give the same rows on Flink; empty: it can."""
    root = optimise(logical.root, {slot for _, slot in logical.columns})
    found: list[Refusal] = []
    later = {slot for slot, _ in deferred_columns(logical, root).values()}
    for relation in relations(root):
        found += _of_relation(relation, later)
        for expression in expressions(relation):
            found += [one for part in walk(expression) for one in _of_expression(part)]
        for slot in output_slots(relation):
            found += _of_type(slot.type)
    return tuple(dict.fromkeys(found))


def _of_relation(relation: Relation, later: set[Slot]) -> Iterator[Refusal]:
    if isinstance(relation, Window) and max(relation.frame.size_ms, relation.frame.step_ms) > _LONGEST_MS:
        yield "a window of more than 999 days is too long for Flink", "write a shorter INTERVAL"
    if isinstance(relation, StreamJoin | TableJoin) and any(pa.types.is_floating(left.type) for left, _ in relation.on):
        yield (
            "0.0 and −0.0 are two keys where Flink joins by a DOUBLE",
            "CAST both to DECIMAL(38, 18) in a WITH query first",
        )
    if isinstance(relation, Rank) and _session_below(relation):
        yield "Flink ranks no rows of a SESSION", "group the session, or use TUMBLE"
    if not isinstance(relation, Aggregate):
        return
    if _other_keys_than_the_session(relation):
        yield (
            "on Flink a SESSION is grouped by the columns of its PARTITION BY, all of them and no others",
            "group by window_start, window_end and these columns, and group again with TUMBLE over window_time",
        )
    ordered = any(needs_order(call) for _, call in relation.aggregates)
    if ordered and _session_below(relation):
        yield (
            "sums of DOUBLE, lists and deviations over a SESSION follow the order of arrival on Flink",
            "CAST to DECIMAL(38, 18) before the sum, or use TUMBLE",
        )
    frame = pane_frame(relation)
    if ordered and frame is not None and frame.overlap > _MOST_ORDERED:
        yield (
            f"each row lies in {frame.overlap} windows, too many to keep a sum of DOUBLE in order in each",
            "CAST to DECIMAL(38, 18) before the sum",
        )
    for slot, call in relation.aggregates:
        if call.name in DEFERRED and slot not in later:
            yield (
                f"{call.name} on Flink can only be selected as it is, from the outermost GROUP BY",
                f"select {call.name}(x) AS name alone, and reckon with it later",
            )


def _of_expression(part: Expression) -> Iterator[Refusal]:
    if isinstance(part, Cast) and part.type == pa.string() and pa.types.is_floating(part.value.type):
        yield "a DOUBLE as text looks otherwise on Flink", "CAST it to DECIMAL(38, 6) first"
    if (
        isinstance(part, Cast)
        and (pa.types.is_binary(part.type) or pa.types.is_binary(part.value.type))
        and part.type != part.value.type
    ):
        yield "BYTES are not converted on Flink as elsewhere", "keep BYTES as they are"
    if isinstance(part, Call) and part.name == "%" and pa.types.is_floating(part.type):
        yield "Flink has no remainder of DOUBLE", "CAST both to DECIMAL"
    if (
        isinstance(part, Call)
        and part.name == "TRUNCATE"
        and bool(part.arguments[1:])
        and pa.types.is_floating(part.type)
    ):
        yield "Flink cuts no DOUBLE to so many digits", "CAST it to DECIMAL(38, 18) first"
    if isinstance(part, Call) and part.name == "TIMESTAMPDIFF" and _constant(part, 0) not in _FIXED_UNITS:
        yield "Flink counts months otherwise", "write TIMESTAMPDIFF(DAY, from, to)"
    if isinstance(part, Call) and part.name.startswith("JSON") and not _PATH.match(str(_constant(part, 1) or "")):
        yield (
            f"the path of {part.name} is no constant, or not one that is read alike everywhere",
            "write '$.name.list[0]'",
        )
    if isinstance(part, Call) and part.name.startswith("REGEXP"):
        yield from _of_pattern(part)
    if isinstance(part, AggregateCall) and part.name in ("FIRST_VALUE", "LAST_VALUE"):
        kind = part.arguments[0].type
        if category(kind) in ("bytes", "list"):
            yield f"{part.name} takes no BYTES and no ARRAY on Flink", "choose another column"


def _of_pattern(call: Call) -> Iterator[Refusal]:
    pattern = _constant(call, 1)
    if not isinstance(pattern, str):
        yield f"the regular expression of {call.name} is no constant", "write it as a text"
        return
    try:
        re.compile(pattern)
    except re.error as error:
        yield f"{pattern!r} is no regular expression: {error}", "correct it"
    if _LOOKING.search(pattern):
        yield "look-around and back references are no part of the regular expressions here", "write a plain expression"
    new = _constant(call, 2) if call.name == "REGEXP_REPLACE" else ""
    if not isinstance(new, str) or "\\" in new:
        yield "what REGEXP_REPLACE puts in is a constant on Flink, without groups", "write REGEXP_EXTRACT and ||"


def _constant(call: Call, place: int) -> object:
    """The value of an argument that is a constant; None: it is none."""
    argument = call.arguments[place : place + 1]
    return next((one.value for one in argument if isinstance(one, Constant)), None)


def _of_type(kind: pa.DataType) -> Iterator[Refusal]:
    if pa.types.is_time(kind):
        yield "TIME has no more than milliseconds on Flink", "declare the column as STRING"
    if pa.types.is_decimal(kind) and kind.precision == kind.scale == MAX_PRECISION:
        yield "Flink has no digit left before the point of a DECIMAL(38, 38)", "CAST it to DECIMAL(38, 37)"


def _other_keys_than_the_session(aggregate: Aggregate) -> bool:
    borders = {aggregate.window.start, aggregate.window.end, aggregate.window.time}
    keys = [one for _, one in aggregate.keys if not (isinstance(one, Ref) and one.slot in borders)]
    slots, below = [one.slot if isinstance(one, Ref) else None for one in keys], aggregate.source
    while not isinstance(below, Window):
        if isinstance(below, Scan | Aggregate):
            return False
        if isinstance(below, Project):
            columns = {slot: one.slot for slot, one in below.columns if isinstance(one, Ref)}
            slots = [columns.get(slot) if slot is not None else None for slot in slots]
        below = below.source
    return below.frame.kind == "SESSION" and set(slots) != {one.slot for one in below.partition}


def _session_below(relation: Relation) -> bool:
    below = sources(relation)[0]
    while not isinstance(below, Window):
        if not sources(below) or isinstance(below, Aggregate):
            return False
        below = sources(below)[0]
    return below.frame.kind == "SESSION"
