"""Expressions of the plan in Flink's SQL: whatever cannot be computed for a row is NULL, never an error."""

import pyarrow as pa

from headrace.streams.expression import Call, Case, Cast, Constant, Duration, Expression, Now, Ref
from headrace.streams.flink.sql.casts import BOUNDS, cast_sql, double_sql, fits, unsigned_zero
from headrace.streams.flink.sql.functions import SCALAR_SQL
from headrace.streams.flink.sql.types import constant, inner_type, instant, interval, null
from headrace.streams.sql_types import DOUBLE, MAX_PRECISION, NULL, as_decimal, category

_KEPT_SCALE = 6
"""So many digits behind the point Flink never cuts."""


def expression_sql(expression: Expression) -> str:
    """An expression without aggregates."""
    if isinstance(expression, Ref):
        return expression.slot.column
    if isinstance(expression, Constant):
        return constant(expression)
    if isinstance(expression, Now):
        return instant("_n")
    if isinstance(expression, Cast):
        return cast_sql(expression_sql(expression.value), expression.value.type, expression.type)
    if isinstance(expression, Case):
        return _case(expression)
    assert isinstance(expression, Call)
    return _call(expression)


def column_sql(expression: Expression) -> str:
    """An expression as a column of its own type."""
    sql = expression_sql(expression)
    if isinstance(expression, Ref | Cast | Constant | Case) or expression.type == NULL:
        return sql
    return f"CAST({sql} AS {inner_type(expression.type)})"


def key_sql(expression: Expression) -> str:
    """An expression by which rows are told apart or compared, as a column: −0.0 is 0.0."""
    sql = column_sql(expression)
    return (
        f"CAST({unsigned_zero(sql)} AS {inner_type(expression.type)})" if pa.types.is_floating(expression.type) else sql
    )


def _case(case: Case) -> str:
    branches = " ".join(f"WHEN {expression_sql(when)} THEN {expression_sql(then)}" for when, then in case.branches)
    return f"(CASE {branches} ELSE {expression_sql(case.otherwise)} END)"


def _call(call: Call) -> str:
    if call.name in "+-*/%":
        return _arithmetic(call)
    arguments = tuple(expression_sql(one) for one in call.arguments)
    if call.name in ("AND", "OR"):
        return f"({f' {call.name} '.join(arguments)})"
    if call.name == "NOT":
        return f"(NOT {arguments[0]})"
    if call.name == "IS NULL":
        return f"({arguments[0]} IS NULL)"
    if call.name == "IN":
        return f"({' OR '.join(f'({arguments[0]} = {one})' for one in arguments[1:])})"
    if call.name in SCALAR_SQL:
        return SCALAR_SQL[call.name](call, arguments)
    return f"({arguments[0]} {call.name} {arguments[1]})"


def _arithmetic(call: Call) -> str:
    left, right = call.arguments
    if category(call.type) == "instant":
        return _later(call, left, right)
    a, b = expression_sql(left), expression_sql(right)
    if NULL in (left.type, right.type):
        return null(call.type)
    if call.type == DOUBLE:
        a, b = double_sql(a, left.type), double_sql(b, right.type)
        return _double(call.name, a, b)
    if category(call.type) == "integer":
        return _integer(call, a, b)
    return _decimal(call, a, b)


def _double(operator: str, a: str, b: str) -> str:
    if operator == "/":
        return f"(CASE WHEN {b} <> 0 THEN {a} / {b} END)"
    return f"({a} {operator} {b})"


def _integer(call: Call, a: str, b: str) -> str:
    if call.name in "/%":
        wide = "DECIMAL(19, 0)" if call.type == pa.int64() else "BIGINT"
        if call.name == "%":
            alone = (
                f"CASE WHEN CAST({a} AS DECIMAL(19, 0)) > CAST('{BOUNDS[call.type][0]}' AS DECIMAL(19, 0)) THEN 0 END"
            )
            return f"(CASE WHEN {b} = 0 THEN NULL WHEN {b} = -1 THEN {alone} ELSE MOD(CAST({a} AS BIGINT), CAST({b} AS BIGINT)) END)"
        plain = f"CAST({a} AS {inner_type(call.type)}) / CAST({b} AS {inner_type(call.type)})"
        negated = fits(f"(0 - CAST({a} AS {wide}))", call.type)
        return f"(CASE WHEN {b} = 0 THEN NULL WHEN {b} = -1 THEN {negated} ELSE {plain} END)"
    if call.type == pa.int64():
        return fits(f"(CAST({a} AS DECIMAL(19, 0)) {call.name} CAST({b} AS DECIMAL(19, 0)))", call.type)
    return fits(f"(CAST({a} AS BIGINT) {call.name} CAST({b} AS BIGINT))", call.type)


def _decimal(call: Call, a: str, b: str) -> str:
    kinds = [f"TRY_CAST({one} AS {_as_decimal(kind.type)})" for one, kind in zip((a, b), call.arguments, strict=True)]
    if call.name == "%":
        return f"(CASE WHEN {b} <> 0 THEN TRY_CAST(MOD({kinds[0]}, {kinds[1]}) AS {inner_type(call.type)}) END)"
    digits = _digits_of(call)
    if digits > MAX_PRECISION and call.type.scale > _KEPT_SCALE:
        return _by_whole_numbers(call, kinds)
    return f"TRY_CAST(({kinds[0]} {call.name} {kinds[1]}) AS {inner_type(call.type)})"


def _digits_of(call: Call) -> int:
    """How many digits Flink wants for a sum, difference or product; of more than 38 it cuts the last."""
    (p1, s1), (p2, s2) = (as_decimal(one.type) for one in call.arguments)
    return p1 + p2 + 1 if call.name == "*" else max(p1 - s1, p2 - s2) + max(s1, s2) + 1


def _by_whole_numbers(call: Call, kinds: list[str]) -> str:
    """Reckons with the digits as whole numbers, of which none is cut, and sets the point by way of text."""
    scales = [as_decimal(one.type)[1] for one in call.arguments]
    if call.name != "*":
        scales = [call.type.scale, call.type.scale]
    a, b = (_moved(one, scale, pa.decimal128(MAX_PRECISION, 0)) for one, scale in zip(kinds, scales, strict=True))
    return _moved(f"({a} {call.name} {b})", -call.type.scale, call.type)


def _moved(value: str, places: int, kind: pa.DataType) -> str:
    """A DECIMAL times a power of ten."""
    return f"TRY_CAST((CAST({value} AS STRING) || 'E{places}') AS {inner_type(kind)})"


def _as_decimal(kind: pa.DataType) -> str:
    if pa.types.is_decimal(kind):
        return inner_type(kind)
    return f"DECIMAL({as_decimal(kind)[0]}, 0)"


def _later(call: Call, left: Expression, right: Expression) -> str:
    assert isinstance(right, Duration)
    value = expression_sql(left)
    sign = -1 if call.name == "-" else 1
    for word, length in interval(sign * right.months, sign * right.milliseconds):
        value = f"({value} {word} {length})"
    return value
