"""Flink's names of types, and literals.

Inside a job every time is a TIMESTAMP without zone, in UTC; what goes in and comes out is converted at the borders.
"""

from decimal import Decimal

import pyarrow as pa

from headrace.streams.expression import Constant


def inner_type(kind: pa.DataType) -> str:
    """The type that a column has inside a job."""
    if pa.types.is_timestamp(kind):
        return f"TIMESTAMP({6 if kind.unit == 'us' else 3})"
    if pa.types.is_list(kind):
        return f"ARRAY<{inner_type(kind.value_type)}>"
    return _plain(kind)


def read_type(kind: pa.DataType) -> str:
    """The type with which a column is read out of canonical JSON."""
    if pa.types.is_timestamp(kind) and kind.tz:
        return f"TIMESTAMP_LTZ({6 if kind.unit == 'us' else 3})"
    if pa.types.is_list(kind):
        return f"ARRAY<{read_type(kind.value_type)}>"
    return inner_type(kind)


def _plain(kind: pa.DataType) -> str:
    if pa.types.is_decimal(kind):
        return f"DECIMAL({kind.precision}, {kind.scale})"
    names: dict[pa.DataType, str] = {
        pa.bool_(): "BOOLEAN", pa.int8(): "TINYINT", pa.int16(): "SMALLINT", pa.int32(): "INT", pa.int64(): "BIGINT",
        pa.float32(): "FLOAT", pa.float64(): "DOUBLE", pa.string(): "STRING", pa.binary(): "BYTES", pa.date32(): "DATE",
        pa.time64("us"): "TIME(3)", pa.null(): "STRING",
    }  # fmt: skip
    return names[kind]


def text(value: str) -> str:
    """A string literal."""
    return "'" + value.replace("'", "''") + "'"


def name(value: str) -> str:
    """A quoted name."""
    return "`" + value.replace("`", "``") + "`"


def null(kind: pa.DataType) -> str:
    """NULL of a type."""
    return f"CAST(NULL AS {inner_type(kind)})"


def constant(one: Constant) -> str:
    """A literal of the constant's type."""
    value = one.value
    if value is None:
        return null(one.type)
    if isinstance(value, str):
        return text(value)
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, Decimal):
        return f"CAST({text(format(value, 'f'))} AS {inner_type(one.type)})"
    return f"CAST({text(repr(value))} AS {inner_type(one.type)})"


def interval(months: int, milliseconds: int) -> tuple[tuple[str, str], ...]:
    """(sign, literal) of the parts of a length of time; nothing of none."""
    parts: list[tuple[str, str]] = []
    if months:
        parts.append(("-" if months < 0 else "+", f"INTERVAL '{abs(months)}' MONTH(9)"))
    if milliseconds:
        parts.append(("-" if milliseconds < 0 else "+", day_time(abs(milliseconds))))
    return tuple(parts)


def day_time(milliseconds: int) -> str:
    """A length of time that is not negative."""
    seconds, rest = divmod(milliseconds, 1000)
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    return f"INTERVAL '{days} {hour:02d}:{minute:02d}:{second:02d}.{rest:03d}' DAY(3) TO SECOND(3)"


def epoch_ms(value: str) -> str:
    """Ms since 1970 UTC, as BIGINT, of a TIMESTAMP."""
    return f"(EXTRACT(EPOCH FROM {value}) * 1000 + EXTRACT(MILLISECOND FROM {value}))"


def instant(milliseconds: str) -> str:
    """The TIMESTAMP(3) of ms since 1970 UTC."""
    return f"CAST(TO_TIMESTAMP_LTZ({milliseconds}, 3) AS TIMESTAMP(3))"


_SHIFT_DAYS, SHIFT_YEARS = 730_485, 2_000
"""As many days as 2000 years have; a whole number of weeks."""


def shifted(value: str) -> str:
    """A time 2000 years later: before 1970 Flink cuts the parts of a time towards zero, not downwards."""
    return f"TIMESTAMPADD(DAY, {_SHIFT_DAYS}, {value})"


def unshifted(value: str) -> str:
    """What `shifted` did, undone."""
    return f"TIMESTAMPADD(DAY, -{_SHIFT_DAYS}, {value})"
