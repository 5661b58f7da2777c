"""The values of the generator's fields, computed for any rows.

Every number comes from a hash of (seed, field, row): SplitMix64's finaliser (Steele, Lea, Flood 2014). The walk is Lévy's
construction of Brownian motion on the dyadic numbers, so the millionth value costs what the first one does.
"""

from collections.abc import Callable
from datetime import datetime
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from headrace.connectors.generator.options import (
    ChoiceField,
    GeneratedField,
    NormalField,
    SequenceField,
    TimestampField,
    UniformField,
    WalkField,
)
from headrace.foundation.ids import derive_id
from headrace.foundation.quantities import parse_duration_ms

Rows = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]
_WALK_LEVELS = 40
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def flink_type(field: GeneratedField) -> str:
    """The SQL type of a field's column."""
    match field:
        case SequenceField():
            return "BIGINT"
        case UniformField():
            return "BIGINT" if field.whole else "DOUBLE"
        case ChoiceField():
            return "STRING"
        case TimestampField():
            return "TIMESTAMP_LTZ(3)"
        case NormalField() | WalkField():
            return "DOUBLE"


def column(field: GeneratedField, seed: int, rows: Rows) -> pa.Array:
    """The field's values in those rows (numbers from 0)."""
    draw = partial(_uniform, seed, field.name)
    match field:
        case SequenceField():
            return pa.array(field.start + rows * field.step)
        case UniformField() if field.whole:
            return pa.array(np.floor(field.low + draw("value", rows) * (field.high - field.low + 1)).astype(np.int64))
        case UniformField():
            return pa.array(field.low + draw("value", rows) * (field.high - field.low))
        case NormalField():
            return pa.array(field.mean + field.deviation * _normal(draw, "value", rows))
        case ChoiceField():
            return _choice(field, draw("value", rows))
        case WalkField():
            return pa.array(field.start + field.step * _walk(draw, rows))
        case TimestampField():
            return _timestamps(field, draw("disorder", rows), rows)


def _uniform(seed: int, name: str, use: str, rows: Rows) -> Numbers:
    """[n] uniform in [0, 1)."""
    key = np.uint64(int(derive_id(seed, name, use)[:16], 16))
    mixed = _mix(_mix(rows.astype(np.uint64) * _GOLDEN + key))
    return (mixed >> np.uint64(11)).astype(np.float64) / 2.0**53


def _mix(value: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    value = value + _GOLDEN
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def _normal(draw: Callable[[str, Rows], Numbers], use: str, rows: Rows) -> Numbers:
    """[n] standard normal (Box and Muller 1958)."""
    radius = np.sqrt(-2.0 * np.log1p(-draw(f"{use} radius", rows)))
    return radius * np.cos(2.0 * np.pi * draw(f"{use} angle", rows))


def _walk(draw: Callable[[str, Rows], Numbers], rows: Rows) -> Numbers:
    """[n] a walk of standard normal steps from 0: halves [0, 2^40) towards each row, drawing the middle given both ends."""
    left, right = np.zeros_like(rows), np.full_like(rows, 2**_WALK_LEVELS)
    at_left, at_right = np.zeros(len(rows)), 2.0 ** (_WALK_LEVELS / 2) * _normal(draw, "end", right)
    for _ in range(_WALK_LEVELS):
        middle = (left + right) // 2
        at_middle = (at_left + at_right) / 2 + np.sqrt((right - left) / 4) * _normal(draw, "middle", middle)
        below = rows < middle
        left, right = np.where(below, left, middle), np.where(below, middle, right)
        at_left, at_right = np.where(below, at_left, at_middle), np.where(below, at_middle, at_right)
    return at_left


def _choice(field: ChoiceField, drawn: Numbers) -> pa.Array:
    weights = np.array(field.weights or [1.0] * len(field.values))
    bounds = np.cumsum(weights) / weights.sum()
    places = np.searchsorted(bounds[:-1], drawn, side="right")
    return pa.array(field.values, pa.string()).take(pa.array(places))


def _timestamps(field: TimestampField, drawn: Numbers, rows: Rows) -> pa.Array:
    start = round(datetime.fromisoformat(field.start).timestamp() * 1000)
    early = np.floor(drawn * parse_duration_ms(field.disorder)).astype(np.int64)
    times = start + rows * parse_duration_ms(field.interval) - early
    return pa.array(times).cast(pa.timestamp("ms", "UTC"))
