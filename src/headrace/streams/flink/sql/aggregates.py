"""Aggregates in Flink's SQL. What depends on the order of rows is told apart, because rows of a group come in any order."""

import pyarrow as pa

from headrace.streams.expression import AggregateCall, Constant
from headrace.streams.flink.sql.casts import cast_sql, fits, unsigned_zero
from headrace.streams.flink.sql.expressions import expression_sql, key_sql
from headrace.streams.flink.sql.types import inner_type
from headrace.streams.sql_types import DOUBLE, category

ORDER_DIGITS = 32
_BIAS = "CAST('10000000000000000000000000000000' AS DECIMAL(38, 0))"
"""Makes every order number positive and of `ORDER_DIGITS` digits: times reach from the year 1 to the year 9999."""


def order_number(time: str, offset: str) -> str:
    """One number that orders rows by event time (ms), then of their offset."""
    return f"(CAST({time} AS DECIMAL(19, 0)) * CAST('100000000000000000' AS DECIMAL(18, 0)) + CAST({offset} AS DECIMAL(19, 0)))"


DEFERRED = ("PERCENTILE", "VAR_POP", "VAR_SAMP", "STDDEV_POP", "STDDEV_SAMP")
"""Aggregates for which Flink uses another formula: the reader of the output computes them."""


def needs_order(call: AggregateCall) -> bool:
    """Whether the rows of a group must come in order for this aggregate: floating sums, and lists."""
    floating = bool(call.arguments) and pa.types.is_floating(call.arguments[0].type)
    return call.name in ("LISTAGG", *DEFERRED) or (floating and call.name in ("SUM", "AVG"))


def by_order(call: AggregateCall) -> bool:
    """Whether it reads the order number."""
    return needs_order(call) or call.name in ("FIRST_VALUE", "LAST_VALUE")


def deferred_sql(call: AggregateCall) -> str:
    """The values, in order."""
    value = cast_sql(expression_sql(call.arguments[0]), call.arguments[0].type, DOUBLE)
    some = f"{value} IS NOT NULL"
    return f"ARRAY_AGG({value}) FILTER (WHERE {some}{f' AND {expression_sql(call.where)}' if call.where is not None else ''})"


def aggregate_sql(call: AggregateCall) -> str:
    """An aggregate over the rows of a group, whose order number is `_o`."""
    where = f" FILTER (WHERE {expression_sql(call.where)})" if call.where is not None else ""
    if not call.arguments:
        return f"COUNT(*){where}"
    kind = call.arguments[0].type
    value = expression_sql(call.arguments[0])
    if call.distinct:
        return f"COUNT(DISTINCT {key_sql(call.arguments[0])}){where}"
    if call.name in ("FIRST_VALUE", "LAST_VALUE"):
        return _by_order(call, value, kind, where)
    if call.name == "SUM":
        return sum_sql(value, kind, call.type, where)
    if call.name == "AVG":
        total = f"CAST({sum_sql(value, kind, call.type, where, whole=False)} AS DOUBLE)"
        return f"({total} / CAST(NULLIF(COUNT({value}){where}, CAST(0 AS BIGINT)) AS DOUBLE))"
    if call.name == "LISTAGG":
        separator = call.arguments[1] if len(call.arguments) > 1 else Constant(",", pa.string())
        return f"LISTAGG({value}, {expression_sql(separator)}){where}"
    return f"{call.name}({key_sql(call.arguments[0])}){where}"


def sum_sql(value: str, kind: pa.DataType, result: pa.DataType, where: str, *, whole: bool = True) -> str:
    if pa.types.is_floating(kind):
        return unsigned_zero(f"SUM(CAST({value} AS DOUBLE)){where}")
    if category(kind) == "integer":
        total = f"SUM(CAST({value} AS DECIMAL(19, 0))){where}"
        return fits(total, result) if whole else total
    return f"SUM({value}){where}"


def _by_order(call: AggregateCall, value: str, kind: pa.DataType, where: str) -> str:
    """The value of the first or last row."""
    return chosen(f"{least_or_most(call)}({numbered(value)}){where}", kind)


def least_or_most(call: AggregateCall) -> str:
    """The aggregate that finds the first or last row among texts of `numbered`."""
    return "MIN" if call.name == "FIRST_VALUE" else "MAX"


def numbered(value: str) -> str:
    """A text that sorts by the order number and holds the value; NULL of NULL."""
    return (
        f"(LPAD(CAST(CAST(_o AS DECIMAL(38, 0)) + {_BIAS} AS STRING), {ORDER_DIGITS}, '0') || CAST({value} AS STRING))"
    )


def chosen(text: str, kind: pa.DataType) -> str:
    """The value inside a text of `numbered`."""
    found = f"SUBSTRING({text}, {ORDER_DIGITS + 1})"
    return found if kind == pa.string() else f"TRY_CAST({found} AS {inner_type(kind)})"
