"""The functions that a query may call, with their types: the closed list that every engine implements.

A value that cannot be computed for a row is NULL, never an error: the stream continues.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa

from headrace.streams.sql_types import BIGINT, BOOLEAN, DATE, DOUBLE, INSTANT, INT, STRING, category

Returns = pa.DataType | Callable[[tuple[pa.DataType, ...]], pa.DataType]
"""A type, or how it follows from the arguments' types."""


@dataclass(frozen=True, slots=True)
class Function:
    """One function."""

    name: str
    parameters: tuple[str, ...]
    """Categories of `sql_types.category`, or `any`; `unit` is a bare word such as MINUTE; `same`: of one type with the other `same`."""
    returns: Returns
    doc: str
    optional: int = 0
    """How many of the last parameters may be left out."""
    variadic: bool = False
    """The last parameter may be repeated."""
    aggregate: bool = False
    decomposable: bool = False
    """An aggregate of panes gives the aggregate of the window: needed where windows overlap many times."""

    @property
    def signature(self) -> str:
        """`LPAD(string, integer, string)`; square brackets around what may be left out."""
        needed = len(self.parameters) - self.optional
        words = [f"[{word}]" if place >= needed else word for place, word in enumerate(self.parameters)]
        return f"{self.name}({', '.join(words)}{', …' if self.variadic else ''})"

    def result(self, arguments: tuple[pa.DataType, ...]) -> pa.DataType:
        """The type of the result."""
        return self.returns if isinstance(self.returns, pa.DataType) else self.returns(arguments)


def _first(arguments: tuple[pa.DataType, ...]) -> pa.DataType:
    return arguments[0]


def _sum(arguments: tuple[pa.DataType, ...]) -> pa.DataType:
    kind = arguments[0]
    if pa.types.is_decimal(kind):
        return pa.decimal128(38, kind.scale)
    return BIGINT if category(kind) == "integer" else DOUBLE


def _rounded(arguments: tuple[pa.DataType, ...]) -> pa.DataType:
    kind = arguments[0]
    return pa.float64() if pa.types.is_floating(kind) else kind


UNITS = ("YEAR", "QUARTER", "MONTH", "WEEK", "DAY", "HOUR", "MINUTE", "SECOND")

AGGREGATES = (
    Function("COUNT", ("any",), BIGINT, "Rows, or values that are not NULL; COUNT(DISTINCT x) counts different ones.", 1, aggregate=True, decomposable=True),
    Function("SUM", ("number",), _sum, "Sum: BIGINT of integers (NULL where it does not fit), DECIMAL(38, s) of DECIMAL, else DOUBLE.", aggregate=True, decomposable=True),
    Function("AVG", ("number",), DOUBLE, "Mean, always DOUBLE; the sum below it is exact for integers and DECIMAL.", aggregate=True, decomposable=True),
    Function("MIN", ("any",), _first, "Smallest value.", aggregate=True, decomposable=True),
    Function("MAX", ("any",), _first, "Largest value.", aggregate=True, decomposable=True),
    Function("FIRST_VALUE", ("any",), _first, "Value of the earliest row by event time, then by input order; NULLs are passed over.", aggregate=True, decomposable=True),
    Function("LAST_VALUE", ("any",), _first, "Value of the latest row by event time, then by input order; NULLs are passed over.", aggregate=True, decomposable=True),
    Function("STDDEV_POP", ("number",), DOUBLE, "Standard deviation of all.", aggregate=True),
    Function("STDDEV_SAMP", ("number",), DOUBLE, "Standard deviation of a sample; NULL of one row.", aggregate=True),
    Function("VAR_POP", ("number",), DOUBLE, "Variance of all.", aggregate=True),
    Function("VAR_SAMP", ("number",), DOUBLE, "Variance of a sample; NULL of one row.", aggregate=True),
    Function("PERCENTILE", ("number", "number"), DOUBLE, "PERCENTILE(x, 0.5): interpolated between the two nearest values.", aggregate=True),
    Function("LISTAGG", ("string", "string"), STRING, "Values joined in order of event time, by ',' or by the second argument.", 1, aggregate=True),
)  # fmt: skip

SCALARS = (
    Function("ABS", ("number",), _first, "Absolute value."),
    Function("CEIL", ("number", "unit"), _first, "Next whole number up; CEIL(ts TO MINUTE): next full unit of time.", 1),
    Function("FLOOR", ("number", "unit"), _first, "Next whole number down; FLOOR(ts TO MINUTE): start of the unit of time.", 1),
    Function("ROUND", ("number", "integer"), _rounded, "Rounded, halves away from zero, to so many digits.", 1),
    Function("TRUNCATE", ("number", "integer"), _rounded, "Cut towards zero, to so many digits.", 1),
    Function("SIGN", ("number",), INT, "−1, 0 or 1."),
    Function("SQRT", ("number",), DOUBLE, "Square root; NULL below zero."),
    Function("POWER", ("number", "number"), DOUBLE, "Power; NULL where it is not a finite number."),
    Function("EXP", ("number",), DOUBLE, "e to the power of x; NULL where it is not a finite number."),
    Function("LN", ("number",), DOUBLE, "Natural logarithm; NULL of zero and below."),
    Function("LOG10", ("number",), DOUBLE, "Logarithm to the base of 10; NULL of zero and below."),
    Function("LOG2", ("number",), DOUBLE, "Logarithm to the base of 2; NULL of zero and below."),
    Function("MOD", ("number", "number"), _first, "Remainder, with the sign of the first; NULL where the second is 0."),
    Function("GREATEST", ("same",), _first, "Largest; NULL where one is NULL.", variadic=True),
    Function("LEAST", ("same",), _first, "Smallest; NULL where one is NULL.", variadic=True),
    Function("COALESCE", ("same",), _first, "First that is not NULL.", variadic=True),
    Function("IFNULL", ("same", "same"), _first, "The second where the first is NULL."),
    Function("NULLIF", ("same", "same"), _first, "NULL where both are equal, else the first."),
    Function("IF", ("boolean", "same", "same"), lambda kinds: kinds[1], "The second where the first is true, else the third."),
    Function("UPPER", ("string",), STRING, "Capitals: ß becomes SS."),
    Function("LOWER", ("string",), STRING, "Small letters, one by one: Σ becomes σ also at the end of a word."),
    Function("TRIM", ("string",), STRING, "Without spaces at both ends."),
    Function("LTRIM", ("string",), STRING, "Without spaces at the start."),
    Function("RTRIM", ("string",), STRING, "Without spaces at the end."),
    Function("CHAR_LENGTH", ("string",), INT, "Number of characters."),
    Function("CHARACTER_LENGTH", ("string",), INT, "Number of characters."),
    Function("SUBSTRING", ("string", "integer", "integer"), STRING, "From the n-th character (1 is the first), so many; also SUBSTRING(x FROM n FOR m).", 1),
    Function("SUBSTR", ("string", "integer", "integer"), STRING, "The same as SUBSTRING.", 1),
    Function("LEFT", ("string", "integer"), STRING, "The first n characters."),
    Function("RIGHT", ("string", "integer"), STRING, "The last n characters."),
    Function("REPLACE", ("string", "string", "string"), STRING, "Every occurrence of the second replaced by the third."),
    Function("CONCAT", ("string",), STRING, "Joined; NULL where one is NULL. Also x || y.", variadic=True),
    Function("CONCAT_WS", ("string", "string"), STRING, "Joined by the first; NULLs are passed over.", variadic=True),
    Function("POSITION", ("string", "string"), INT, "POSITION(x IN y): place of x in y from 1; 0: not there."),
    Function("INSTR", ("string", "string"), INT, "INSTR(y, x): place of x in y from 1; 0: not there."),
    Function("LPAD", ("string", "integer", "string"), STRING, "Filled on the left, or cut, to n characters."),
    Function("RPAD", ("string", "integer", "string"), STRING, "Filled on the right, or cut, to n characters."),
    Function("REPEAT", ("string", "integer"), STRING, "Repeated n times (at most 10,000)."),
    Function("REVERSE", ("string",), STRING, "Back to front, code point by code point."),
    Function("STARTSWITH", ("string", "string"), BOOLEAN, "Whether the first starts with the second."),
    Function("ENDSWITH", ("string", "string"), BOOLEAN, "Whether the first ends with the second."),
    Function("SPLIT_INDEX", ("string", "string", "integer"), STRING, "The n-th part (0 is the first) of x split at the second; NULL beyond."),
    Function("REGEXP", ("string", "string"), BOOLEAN, "Whether a part matches the regular expression."),
    Function("REGEXP_EXTRACT", ("string", "string", "integer"), STRING, "The n-th group (0: all) of the first match; NULL without one.", 1),
    Function("REGEXP_REPLACE", ("string", "string", "string"), STRING, "Every match replaced."),
    Function("MD5", ("string",), STRING, "MD5 in hexadecimal digits."),
    Function("SHA256", ("string",), STRING, "SHA-256 in hexadecimal digits."),
    Function("JSON_VALUE", ("string", "string"), STRING, "JSON_VALUE(x, '$.a.b'): the scalar there, a number with the digits it has; NULL where there is none or x is no JSON."),
    Function("JSON_EXISTS", ("string", "string"), BOOLEAN, "Whether the path leads to something that is not null; FALSE where x is no JSON."),
    Function("NOW", (), INSTANT, "When the row came in, or the stream's time (`timeline: event`); in queries without windows. Also CURRENT_TIMESTAMP."),
    Function("EXTRACT", ("unit", "instant"), BIGINT, "EXTRACT(HOUR FROM ts): that part of the time, in UTC; YEAR to SECOND."),
    Function("YEAR", ("instant",), BIGINT, "Year."),
    Function("MONTH", ("instant",), BIGINT, "Month, 1 to 12."),
    Function("DAYOFMONTH", ("instant",), BIGINT, "Day of the month, 1 to 31."),
    Function("DAYOFWEEK", ("instant",), BIGINT, "Day of the week, 1 (Sunday) to 7."),
    Function("HOUR", ("instant",), BIGINT, "Hour, 0 to 23."),
    Function("MINUTE", ("instant",), BIGINT, "Minute, 0 to 59."),
    Function("SECOND", ("instant",), BIGINT, "Second, 0 to 59."),
    Function("TIMESTAMPDIFF", ("unit", "instant", "instant"), INT, "Full units from the first to the second time (SECOND to DAY)."),
    Function("TIMESTAMPADD", ("unit", "integer", "instant"), lambda kinds: kinds[2], "The time so many units later (SECOND to WEEK)."),
    Function("TO_TIMESTAMP", ("string",), pa.timestamp("ms"), "The time that an ISO-8601 text says."),
    Function("TO_TIMESTAMP_LTZ", ("integer", "integer"), INSTANT, "The instant so many seconds (0) or milliseconds (3) after 1970 UTC."),
    Function("TO_DATE", ("string",), DATE, "The date that YYYY-MM-DD says."),
    Function("UNIX_TIMESTAMP", ("instant",), BIGINT, "Seconds since 1970 UTC."),
)  # fmt: skip

FUNCTIONS: dict[str, Function] = {function.name: function for function in (*AGGREGATES, *SCALARS)}
OPERATORS = "+ − * / % · = <> < <= > >= · AND OR NOT · IS [NOT] NULL, IS [NOT] DISTINCT FROM, BETWEEN, IN (list), LIKE · || · CASE · CAST, TRY_CAST"
