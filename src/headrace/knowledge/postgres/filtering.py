"""Filters as SQL equivalent to `filters.matches`: every name and value is bound, none becomes part of the statement."""

from collections.abc import Sequence

from headrace.knowledge.filters import Condition
from headrace.knowledge.postgres.encoding import comparable, escaped
from headrace.knowledge.revision import Scalar

_COMPARISONS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


def filter_sql(conditions: Sequence[Condition]) -> tuple[str, list[object]]:
    """An expression over `c.filterable`, and its parameters."""
    parts: list[str] = []
    values: list[object] = []
    for one in conditions:
        part, bound = _condition(one)
        parts.append(part)
        values += bound
    return " and ".join(parts) or "true", values


def _condition(condition: Condition) -> tuple[str, list[object]]:
    name = escaped(condition.name)
    if condition.operator == "exists":
        return "jsonb_exists(c.filterable, %s) = %s", [name, bool(condition.values[0])]
    values = [one for one in condition.values if one == one]  # noqa: PLR0124 - NaN compares with nothing
    if not values:
        return "false", []
    if condition.operator in {"eq", "in"}:
        if len(values) == 1:  # the index supports containment
            return "c.filterable @> jsonb_build_object(%s::text, %s::jsonb)", [name, comparable(values[0])]
        return "c.filterable -> %s::text = any(%s::jsonb[])", [name, [comparable(one) for one in values]]
    compared = [_compared(name, _COMPARISONS[condition.operator], one) for one in values]
    return f"({' or '.join(part for part, _ in compared)})", [bound for _, values in compared for bound in values]


def _compared(name: str, comparison: str, value: Scalar) -> tuple[str, list[object]]:
    if isinstance(value, str):
        return (
            "case when jsonb_typeof(c.filterable -> %s::text) = 'string'"
            f' then (c.filterable ->> %s::text) collate "C" {comparison} %s::text else false end',
            [name, name, escaped(value)],
        )
    kind = "boolean" if isinstance(value, bool) else "number"
    return (
        f"case when jsonb_typeof(c.filterable -> %s::text) = '{kind}'"
        f" then (c.filterable -> %s::text) {comparison} %s::jsonb else false end",
        [name, name, comparable(value)],
    )
