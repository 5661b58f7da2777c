"""Encodes a metadata value so that SQLite compares it as Python does.

A number is a double plus the remainder it cannot represent, so that integers of any size and fractions share one order. Rounding
to a double never reverses an order; if two numbers round to the same double, their remainders decide.
"""

import json
import math
from collections.abc import Mapping

from headrace.foundation.errors import InvalidDeclarationError
from headrace.knowledge.changes import version_order
from headrace.knowledge.revision import Scalar

Kind = int
TEXT, NUMBER, BOOLEAN, NOT_A_NUMBER = 0, 1, 2, 3

_NO_REST = version_order(0)
_BEYOND = 10**3_900
"""Integers beyond any double are compared by their distance from this one."""

Comparable = tuple[Kind, str | float | int, str]
"""Kind, value, remainder."""


def comparable(value: Scalar) -> Comparable:
    """InvalidDeclarationError: an integer of thousands of digits."""
    if isinstance(value, bool):
        return BOOLEAN, int(value), ""
    if isinstance(value, str):
        return TEXT, value, ""
    if isinstance(value, float):
        return (NOT_A_NUMBER, 0, "") if math.isnan(value) else (NUMBER, value, _NO_REST)
    return _integer(value)


def to_json(metadata: Mapping[str, Scalar]) -> str:
    """All of it as text; integers and floats keep their type."""
    return json.dumps(dict(metadata), separators=(",", ":"))


def _integer(value: int) -> Comparable:
    if abs(value) >= _BEYOND:
        raise InvalidDeclarationError("a metadata integer has too many digits", next_step="pass it as text")
    try:
        double = float(value)
    except OverflowError:
        return (NUMBER, math.inf, _rest(value - _BEYOND)) if value > 0 else (NUMBER, -math.inf, _rest(value + _BEYOND))
    return NUMBER, double, _rest(value - int(double))


def _rest(rest: int) -> str:
    return _NO_REST if rest == 0 else version_order(rest)
