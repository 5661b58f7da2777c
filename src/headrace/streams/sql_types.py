"""What the types of SQL have in common, and how they combine; types are Arrow's (`events/schema.py` names them)."""

from typing import Literal

import pyarrow as pa

Category = Literal[
    "number", "integer", "string", "boolean", "time", "date", "instant", "bytes", "interval", "list", "null"
]

BOOLEAN, STRING, DOUBLE, BIGINT, INT = pa.bool_(), pa.string(), pa.float64(), pa.int64(), pa.int32()
DATE, NULL = pa.date32(), pa.null()
INSTANT = pa.timestamp("ms", tz="UTC")
INTERVAL = pa.month_day_nano_interval()
MAX_PRECISION = 38
_MAX_PRODUCT_SCALE = 20
"""A DECIMAL product keeps at least 18 digits before the point; beyond, it is DOUBLE."""
_INTEGER_DIGITS = {pa.int8(): 3, pa.int16(): 5, pa.int32(): 10, pa.int64(): 19}


def category(kind: pa.DataType) -> Category:
    """The family that a type belongs to; `integer` counts as `number` too (`accepts`)."""
    tests: tuple[tuple[Category, bool], ...] = (
        ("integer", pa.types.is_integer(kind)),
        ("number", pa.types.is_floating(kind) or pa.types.is_decimal(kind)),
        ("string", pa.types.is_string(kind) or pa.types.is_large_string(kind)),
        ("boolean", pa.types.is_boolean(kind)),
        ("instant", pa.types.is_timestamp(kind)),
        ("date", pa.types.is_date(kind)),
        ("time", pa.types.is_time(kind)),
        ("bytes", pa.types.is_binary(kind)),
        ("interval", kind == INTERVAL),
        ("list", pa.types.is_list(kind)),
    )
    for name, holds in tests:
        if holds:
            return name
    return "null"


def accepts(wanted: str, kind: pa.DataType) -> bool:
    """Whether a parameter of category `wanted` (or `any`) takes a value of a type; NULL goes anywhere."""
    given = category(kind)
    return wanted == "any" or given in ("null", wanted) or (wanted == "number" and given == "integer")


def is_number(kind: pa.DataType) -> bool:
    return category(kind) in ("number", "integer")


def as_decimal(kind: pa.DataType) -> tuple[int, int]:
    """Precision and scale."""
    return (kind.precision, kind.scale) if pa.types.is_decimal(kind) else (_INTEGER_DIGITS[kind], 0)


def common_type(left: pa.DataType, right: pa.DataType) -> pa.DataType | None:
    """The type that both convert to without loss of meaning (CASE, COALESCE, comparison); None: there is none."""
    if right in (left, NULL):
        return left
    if left == NULL:
        return right
    if is_number(left) and is_number(right):
        return _common_number(left, right)
    kinds = {category(left), category(right)}
    if kinds == {"instant"}:
        unit = "us" if "us" in (left.unit, right.unit) else "ms"
        return pa.timestamp(unit, tz="UTC" if left.tz or right.tz else None)
    if kinds == {"instant", "date"}:
        return left if category(left) == "instant" else right
    return STRING if kinds == {"string"} else None


def _common_number(left: pa.DataType, right: pa.DataType) -> pa.DataType:
    if pa.types.is_floating(left) or pa.types.is_floating(right):
        return pa.float32() if left == right == pa.float32() else DOUBLE
    if category(left) == category(right) == "integer":
        return left if _INTEGER_DIGITS[left] >= _INTEGER_DIGITS[right] else right
    (p1, s1), (p2, s2) = as_decimal(left), as_decimal(right)
    scale = max(s1, s2)
    return pa.decimal128(min(MAX_PRECISION, max(p1 - s1, p2 - s2) + scale), scale)


def arithmetic_type(operator: str, left: pa.DataType, right: pa.DataType) -> pa.DataType:
    """The type of `left operator right` (+ − * / %) of two numbers; what does not fit it is NULL.

    Integers stay integers (at least INT; `/` cuts towards zero); DECIMAL stays exact in + − * and % as long as it fits
    38 digits with 18 of them before the point, else it is DOUBLE; DECIMAL division is DOUBLE.
    """
    kind = (
        INT
        if NULL == left == right
        else _common_number(left if left != NULL else right, right if right != NULL else left)
    )
    if pa.types.is_floating(kind):
        return DOUBLE
    if category(kind) == "integer":
        return BIGINT if kind == BIGINT else INT
    if operator == "/":
        return DOUBLE
    (p1, s1), (p2, s2) = as_decimal(left if left != NULL else kind), as_decimal(right if right != NULL else kind)
    if operator == "*":
        return pa.decimal128(min(MAX_PRECISION, p1 + p2), s1 + s2) if s1 + s2 <= _MAX_PRODUCT_SCALE else DOUBLE
    scale = max(s1, s2)
    return pa.decimal128(min(MAX_PRECISION, max(p1 - s1, p2 - s2) + scale + 1), scale)
