"""Filters over metadata: equality, ranges, membership, existence.

`{"product": "cards", "fee": {"gte": 1, "lt": 5}, "team": {"in": ["a", "b"]}, "reviewed": {"exists": true}}`: all must hold.
Back ends bind names and values as parameters; no part of a filter ever becomes SQL text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

from headrace.foundation.errors import InvalidDeclarationError
from headrace.knowledge.revision import Scalar

Operator = Literal["eq", "in", "exists", "gt", "gte", "lt", "lte"]
OPERATORS: tuple[Operator, ...] = ("eq", "in", "exists", "gt", "gte", "lt", "lte")
MAX_CONDITIONS = 32
MAX_VALUES = 1_000


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison. Texts compare with texts and numbers with numbers; a value of another kind, or a missing one, never matches."""

    name: str
    operator: Operator
    values: tuple[Scalar, ...]
    """One value; `in`: any number; `exists`: one boolean."""


def parse_filter(given: Mapping[str, object], *, names: Sequence[str] | None = None) -> tuple[Condition, ...]:
    """Parses a filter. `names`: the declared metadata fields; None: any. InvalidDeclarationError says what is wrong."""
    conditions: list[Condition] = []
    for name, wanted in given.items():
        if names is not None and name not in names:
            raise _invalid(
                f"unknown metadata field {name!r}", f"use one of: {', '.join(names) or '(none is declared)'}"
            )
        clauses = cast("Mapping[str, object]", wanted) if isinstance(wanted, Mapping) else {"eq": wanted}
        conditions += [_condition(name, operator, value) for operator, value in clauses.items()]
    if len(conditions) > MAX_CONDITIONS:
        raise _invalid(
            f"the filter has {len(conditions)} conditions; the limit is {MAX_CONDITIONS}", "use fewer conditions"
        )
    return tuple(conditions)


def _condition(name: str, operator: str, value: object) -> Condition:
    if operator not in OPERATORS:
        raise _invalid(f"{name}: unknown operator {operator!r}", f"use one of: {', '.join(OPERATORS)}")
    values = cast("Sequence[object]", value) if operator == "in" and isinstance(value, (list, tuple)) else [value]
    if operator == "in" and not isinstance(value, (list, tuple)):
        raise _invalid(f"{name}: `in` requires a list", f'write {{"{name}": {{"in": [...]}}}}')
    if len(values) > MAX_VALUES:
        raise _invalid(f"{name}: the filter has {len(values)} values; the limit is {MAX_VALUES}", "use fewer values")
    for one in values:
        if not isinstance(one, (str, int, float, bool)) or (isinstance(one, float) and one != one):  # noqa: PLR0124 - NaN alone differs from itself
            raise _invalid(
                f"{name}: {one!r} is not a text, a number or a boolean", "compare with a text, a number or a boolean"
            )
    if operator == "exists" and not isinstance(value, bool):
        raise _invalid(f"{name}: `exists` requires true or false", f'write {{"{name}": {{"exists": true}}}}')
    return Condition(name, operator, tuple(cast("Sequence[Scalar]", values)))


def matches(conditions: Sequence[Condition], metadata: Mapping[str, Scalar]) -> bool:
    """What every back end must agree with."""
    return all(_holds(one, metadata.get(one.name)) for one in conditions)


def _holds(condition: Condition, value: Scalar | None) -> bool:
    if condition.operator == "exists":
        return (value is not None) is condition.values[0]
    return value is not None and any(_compares(condition.operator, value, wanted) for wanted in condition.values)


def _compares(operator: Operator, value: Scalar, wanted: Scalar) -> bool:
    if _kind(value) != _kind(wanted):
        return False
    a, b = cast("float", value), cast("float", wanted)  # one kind on both sides: they compare
    match operator:
        case "gt":
            return a > b
        case "gte":
            return a >= b
        case "lt":
            return a < b
        case "lte":
            return a <= b
        case _:
            return a == b


def _kind(value: Scalar) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "text" if isinstance(value, str) else "number"


def _invalid(message: str, next_step: str) -> InvalidDeclarationError:
    return InvalidDeclarationError(message, where="filter", next_step=next_step)
