"""CAST that never fails and gives what DuckDB gives: out of range is NULL, text is read by one grammar."""

import pyarrow as pa

from headrace.streams.flink.sql.types import inner_type, shifted, text, unshifted
from headrace.streams.sql_types import MAX_PRECISION, category

BOUNDS = {
    pa.int8(): (-(1 << 7), (1 << 7) - 1),
    pa.int16(): (-(1 << 15), (1 << 15) - 1),
    pa.int32(): (-(1 << 31), (1 << 31) - 1),
    pa.int64(): (-(1 << 63), (1 << 63) - 1),
}
_EXACT_DIGITS, _LONG_DIGITS = 15, 18
_NUMBER = "'^ *[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)? *$'"
_DAY = "[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}"
_INSTANT = f"^ *({_DAY})(?:[T ]+([0-9]{{1,2}}):([0-9]{{2}})(?::([0-9]{{2}})([.][0-9]+)?)?)? *(Z|[+-][0-9]{{2}}(?::?[0-9]{{2}})?)? *$"


def fits(value: str, kind: pa.DataType) -> str:
    """An exact number with scale 0 as an integer type; NULL where it does not fit."""
    low, high = BOUNDS[kind]
    return f"(CASE WHEN {value} BETWEEN CAST('{low}' AS DECIMAL(38, 0)) AND CAST('{high}' AS DECIMAL(38, 0)) THEN CAST({value} AS {inner_type(kind)}) END)"


def finite(value: str) -> str:
    """A DOUBLE, NULL where it is infinite or undefined."""
    return f"(CASE WHEN {value} BETWEEN -1.7976931348623157E308 AND 1.7976931348623157E308 THEN {value} END)"


def unsigned_zero(value: str) -> str:
    """A DOUBLE; 0.0 for −0.0, in a form that Flink does not take for the value itself as it does `+ 0.0`."""
    return f"(CASE WHEN {value} = 0 THEN CAST(0 AS DOUBLE) ELSE {value} END)"


def double_sql(value: str, given: pa.DataType) -> str:
    """The nearest DOUBLE. A DECIMAL of 16 to 18 digits is a long for Flink, which it would round twice."""
    if pa.types.is_decimal(given) and _EXACT_DIGITS < given.precision <= _LONG_DIGITS:
        value = f"CAST({value} AS STRING)"
    return f"CAST({value} AS DOUBLE)"


def within(value: str, kind: pa.DataType) -> str:
    """A DECIMAL as another; NULL where it does not fit, also where Flink takes the cast for one that always does."""
    whole, fraction = "9" * (kind.precision - kind.scale), "9" * kind.scale
    most = f"{whole}.{fraction}" if fraction else whole
    low, high = (f"CAST({text(one)} AS {inner_type(kind)})" for one in (f"-{most}", most))
    return f"(CASE WHEN {value} BETWEEN {low} AND {high} THEN CAST({value} AS {inner_type(kind)}) END)"


def cast_sql(value: str, given: pa.DataType, kind: pa.DataType) -> str:
    """`value` of type `given` as `kind`."""
    if given == kind:
        return value
    source, target = category(given), category(kind)
    if source == "null":
        return f"CAST({value} AS {inner_type(kind)})"
    if source == "string":
        return _from_text(value, kind)
    if target == "string":
        return _to_text(value, given)
    if target == "integer":
        return _to_integer(value, given, kind)
    if target == "date" and source == "instant":
        return unshifted(f"CAST({shifted(value)} AS DATE)")
    if kind == pa.float64() and pa.types.is_decimal(given):
        return double_sql(value, given)
    if pa.types.is_decimal(given) and pa.types.is_decimal(kind) and _widened(given, kind):
        return within(value, kind)
    return f"TRY_CAST({value} AS {inner_type(kind)})"


def _widened(given: pa.DataType, kind: pa.DataType) -> bool:
    """Whether Flink thinks that the one always fits the other."""
    return given.precision <= kind.precision and given.scale <= kind.scale


def _to_integer(value: str, given: pa.DataType, kind: pa.DataType) -> str:
    low, high = BOUNDS[kind]
    if pa.types.is_boolean(given):
        return f"CAST({value} AS {inner_type(kind)})"
    if pa.types.is_floating(given):
        inside = f"{value} > {_double(low - 1)}" if kind != pa.int64() else f"{value} >= {_double(low)}"
        return f"(CASE WHEN {inside} AND {value} < {_double(high + 1)} THEN CAST({value} AS {inner_type(kind)}) END)"
    if pa.types.is_decimal(given):
        return fits(f"TRUNCATE({value}, 0)", kind)
    if BOUNDS[given][1] <= high:
        return f"CAST({value} AS {inner_type(kind)})"
    return f"(CASE WHEN {value} BETWEEN {low} AND {high} THEN CAST({value} AS {inner_type(kind)}) END)"


def _double(value: int) -> str:
    return (
        f"{float(value)!r}E0"
        if "e" not in repr(float(value))
        else repr(float(value)).replace("e+", "E").replace("e", "E")
    )


def _to_text(value: str, given: pa.DataType) -> str:
    if pa.types.is_timestamp(given):
        return f"CAST(CAST({value} AS TIMESTAMP(3)) AS STRING)"
    if pa.types.is_boolean(given):
        return f"LOWER(CAST({value} AS STRING))"
    return f"CAST({value} AS STRING)"


def _from_text(value: str, kind: pa.DataType) -> str:
    target, sql = category(kind), inner_type(kind)
    if target == "instant":
        return _instant_of_text(value, sql)
    if target == "boolean":
        word = f"LOWER(TRIM({value}))"
        return f"(CASE WHEN {word} IN ('true', 't', '1', 'yes', 'y') THEN TRUE WHEN {word} IN ('false', 'f', '0', 'no', 'n') THEN FALSE END)"
    if target == "integer":
        rounded = f"ROUND(TRY_CAST(TRIM({value}) AS DECIMAL(38, 15)), 0)"
        return f"(CASE WHEN REGEXP({value}, {_NUMBER}) THEN {fits(rounded, kind)} END)"
    if pa.types.is_floating(kind):
        return f"(CASE WHEN REGEXP({value}, {_NUMBER}) THEN {finite(f'TRY_CAST(TRIM({value}) AS {sql})')} END)"
    if pa.types.is_decimal(kind):
        # through more digits: Flink counts the noughts before the point
        wide = f"TRY_CAST(TRIM({value}) AS DECIMAL({MAX_PRECISION}, {kind.scale}))"
        return f"(CASE WHEN REGEXP({value}, {_NUMBER}) THEN TRY_CAST({wide} AS {sql}) END)"
    if target == "date":
        moment = _instant_of_text(value, "TIMESTAMP(3)", zoned=False)
        return unshifted(f"CAST({shifted(moment)} AS DATE)")
    return f"TRY_CAST({value} AS {sql})"


def _instant_of_text(value: str, sql: str, *, zoned: bool = True) -> str:
    """The TIMESTAMP in UTC that an ISO-8601 text says: a day, or a day and a time with or without zone."""
    part = lambda group: f"REGEXP_EXTRACT({value}, '{_INSTANT}', {group})"  # noqa: E731
    clock = [f"LPAD(COALESCE({part(group)}, '00'), 2, '0')" for group in (2, 3, 4)]
    clock[2] += f" || COALESCE({part(5)}, '')"
    plain = f"TRY_CAST(({part(1)} || ' ' || {clock[0]} || ':' || {clock[1]} || ':' || {clock[2]}) AS {sql})"
    last = f"LPAD(REGEXP_EXTRACT({part(1)}, '([0-9]+)$', 1), 2, '0')"  # Flink takes 30 February for the 29th
    plain = f"(CASE WHEN SUBSTRING(CAST({plain} AS STRING), 9, 2) = {last} THEN {plain} END)"
    if not zoned:
        return f"(CASE WHEN REGEXP({value}, '{_INSTANT}') THEN {plain} END)"
    zone = f"REPLACE({part(6)}, ':', '')"
    minutes = (
        f"(CAST(SUBSTRING({zone}, 2, 2) AS INT) * 60 + CAST(COALESCE(NULLIF(SUBSTRING({zone}, 4, 2), ''), '0') AS INT))"
    )
    shifted = (
        f"TIMESTAMPADD(MINUTE, CASE WHEN SUBSTRING({zone}, 1, 1) = '+' THEN -{minutes} ELSE {minutes} END, {plain})"
    )
    return f"(CASE WHEN NOT REGEXP({value}, '{_INSTANT}') THEN NULL WHEN {part(6)} IS NULL OR {part(6)} = '' OR {part(6)} = 'Z' THEN {plain} ELSE CAST({shifted} AS {sql}) END)"
