"""Text into typed columns, a column at a time: a value either fits its type or is reported as not fitting.

The rules are the same for JSON, CSV and everything else. Timestamps carry any offset, or none, which means UTC; fractions
of a second beyond the type's precision are cut off. DECIMAL is exact and rounds half up beyond its scale, as Flink does.
DOUBLE is finite. BOOLEAN is true, false, 1 or 0; BYTES is base64; ARRAY is a JSON array. Any text fits STRING.
"""

import base64
import binascii
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Context, Decimal, DecimalException

import msgspec
import pyarrow as pa

from headrace.connectors.records.kernels import pc, surrounded

_WIDE = pa.decimal256(76, 38)
_EXACT = Context(prec=200)
LONG_EXPONENT = "[eE][+-]?[0-9]{3}"
"""A number whose exponent is larger than any DECIMAL's."""
_LIST = msgspec.json.Decoder(list[msgspec.Raw])


class DoesNotFitError(ValueError):
    """At least one value of a column does not fit its type."""


def type_text(values: pa.Array, kind: pa.DataType) -> tuple[pa.Array, list[int]]:
    """Types a column of strings. NULL stays NULL; values that do not fit become NULL and their indices are returned, ascending.

    Whatever a conversion raises, the value does not fit: one value must not stop the others.
    """
    try:
        return _convert(values, kind), []
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - see above
        if len(values) == 1:
            return pa.nulls(1, kind), [0]
    half = len(values) // 2
    left, left_bad = type_text(values.slice(0, half), kind)
    right, right_bad = type_text(values.slice(half), kind)
    return pa.concat_arrays([left, right]), left_bad + [half + index for index in right_bad]


def json_text(raw: msgspec.Raw | bytes | None) -> str | None:
    """A JSON value as the text of a cell: strings without quotes, null as None, everything else unchanged."""
    if raw is None:
        return None
    data = bytes(raw)
    if data.startswith(b'"'):
        return msgspec.json.decode(data, type=str)
    return None if data == b"null" else data.decode()


def _convert(values: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_string(kind):
        return values
    if pa.types.is_timestamp(kind):
        return _timestamps(values, kind)
    if pa.types.is_decimal(kind):
        return round_decimals(values, kind)
    if pa.types.is_floating(kind):
        return finite(values.cast(kind))
    if pa.types.is_integer(kind):
        return _integers(values, kind)
    if pa.types.is_time(kind):
        return _times(values, kind)
    if pa.types.is_binary(kind):
        return _each(values, kind, _bytes_of)
    if pa.types.is_list(kind):
        return _lists(values, kind)
    return values.cast(kind)


def finite(values: pa.Array) -> pa.Array:
    """The same column; DoesNotFitError if a number is infinite or NaN."""
    if pc.all(pc.is_finite(values), min_count=0).as_py():
        return values
    raise DoesNotFitError


def round_decimals(values: pa.Array, kind: pa.DataType) -> pa.Array:
    """Strings or wide decimals to DECIMAL(p, s), half up. ArrowInvalid or DoesNotFitError if a value is too large."""
    if pa.types.is_string(values.type) and _has_long_exponent(values):
        return _each(values, kind, lambda text: _decimal(text, kind))
    try:
        wide = values.cast(_WIDE)
        if kind.scale < _WIDE.scale:
            wide = pc.round(wide, kind.scale, round_mode="half_towards_infinity")
        return wide.cast(kind)
    except pa.ArrowInvalid:
        if not pa.types.is_string(values.type):
            raise
        return _each(values, kind, lambda text: _decimal(text, kind))


def _has_long_exponent(values: pa.Array) -> bool:
    """Arrow 21 writes out of bounds when it parses 1e-999999999 as a decimal."""
    return bool(pc.any(pc.match_substring_regex(values, LONG_EXPONENT), min_count=0).as_py())


def _decimal(text: str, kind: pa.DataType) -> Decimal:
    """What Arrow cannot parse: more than 38 digits after the point."""
    if text != text.strip() or "_" in text:
        raise DoesNotFitError
    try:
        number = Decimal(text, context=_EXACT)
        return number.quantize(
            Decimal(1).scaleb(-kind.scale), rounding=ROUND_HALF_UP, context=Context(prec=kind.precision)
        )
    except (DecimalException, ValueError) as error:
        raise DoesNotFitError from error


def _integers(values: pa.Array, kind: pa.DataType) -> pa.Array:
    numbers = values.cast(kind)
    if pc.any(pc.match_substring(values, "x", ignore_case=True), min_count=0).as_py():
        raise DoesNotFitError
    return numbers


def _timestamps(values: pa.Array, kind: pa.DataType) -> pa.Array:
    """Tries a column's possible forms, the most frequent first; the caller bisects a mixed column."""
    for unit in dict.fromkeys((kind.unit, "us", "ns")):
        for zone in ("UTC", None):
            try:
                parsed = values.cast(pa.timestamp(unit, zone))
            except pa.ArrowInvalid:
                continue
            return _to_precision(parsed, kind)
    raise DoesNotFitError


def _to_precision(parsed: pa.Array, kind: pa.DataType) -> pa.Array:
    if parsed.type.unit != kind.unit:
        parsed = pc.floor_temporal(parsed, unit={"ms": "millisecond", "us": "microsecond"}[kind.unit])
    return parsed.cast(pa.timestamp(kind.unit)).cast(kind)


def _times(values: pa.Array, kind: pa.DataType) -> pa.Array:
    stamped = surrounded("1970-01-01T", values)
    return stamped.cast(pa.timestamp("us")).cast(kind)


def _bytes_of(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise DoesNotFitError from error


def _lists(values: pa.Array, kind: pa.ListType) -> pa.Array:
    items: list[str | None] = []
    offsets: list[int | None] = []
    for text in values.to_pylist():
        offsets.append(None if text is None else len(items))
        items.extend([] if text is None else _items(text))
    offsets.append(len(items))
    typed, bad = type_text(pa.array(items, pa.string()), kind.value_type)
    if bad:
        raise DoesNotFitError
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), typed).cast(kind)


def _items(text: str) -> list[str | None]:
    try:
        return [json_text(item) for item in _LIST.decode(text)]
    except (msgspec.MsgspecError, RecursionError) as error:
        raise DoesNotFitError from error


def _each(values: pa.Array, kind: pa.DataType, convert: Callable[[str], object]) -> pa.Array:
    return pa.array([None if text is None else convert(text) for text in values.to_pylist()], kind)
