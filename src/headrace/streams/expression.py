"""Expressions after binding: names resolved, types settled, functions allowed. Engines print them in their own SQL."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

import pyarrow as pa

from headrace.streams.sql_types import INTERVAL


@dataclass(frozen=True, slots=True)
class Slot:
    """A column of a relation, under a name that is unique in the whole plan."""

    column: str
    type: pa.DataType


@dataclass(frozen=True, slots=True)
class Ref:
    slot: Slot

    @property
    def type(self) -> pa.DataType:
        return self.slot.type


@dataclass(frozen=True, slots=True)
class Constant:
    """A literal; `value` None is NULL."""

    value: str | int | float | Decimal | bool | None
    type: pa.DataType


@dataclass(frozen=True, slots=True)
class Duration:
    """An INTERVAL."""

    months: int
    milliseconds: int

    @property
    def type(self) -> pa.DataType:
        return INTERVAL


@dataclass(frozen=True, slots=True)
class Now:
    """`now()`, as SEMANTICS §3 says."""

    type: pa.DataType


@dataclass(frozen=True, slots=True)
class Call:
    """An allowed function or an operator, by its name in capitals."""

    name: str
    arguments: "tuple[Expression, ...]"
    type: pa.DataType


@dataclass(frozen=True, slots=True)
class Cast:
    """CAST, which never fails: what does not convert is NULL."""

    value: "Expression"
    type: pa.DataType


@dataclass(frozen=True, slots=True)
class Case:
    branches: "tuple[tuple[Expression, Expression], ...]"
    otherwise: "Expression"
    type: pa.DataType


@dataclass(frozen=True, slots=True)
class AggregateCall:
    """An aggregate over the rows of a group; no arguments: COUNT(*)."""

    name: str
    arguments: "tuple[Expression, ...]"
    type: pa.DataType
    distinct: bool = False
    where: "Expression | None" = None


Expression = Ref | Constant | Duration | Now | Call | Cast | Case | AggregateCall


def children(expression: Expression) -> tuple[Expression, ...]:
    """The expressions directly inside."""
    if isinstance(expression, Call):
        return expression.arguments
    if isinstance(expression, AggregateCall):
        return (*expression.arguments, *((expression.where,) if expression.where is not None else ()))
    if isinstance(expression, Cast):
        return (expression.value,)
    if isinstance(expression, Case):
        return (*(part for branch in expression.branches for part in branch), expression.otherwise)
    return ()


def walk(expression: Expression) -> Iterator[Expression]:
    """The expression and everything inside it."""
    yield expression
    for child in children(expression):
        yield from walk(child)


def slots_of(expression: Expression) -> set[Slot]:
    """The columns that it reads."""
    return {one.slot for one in walk(expression) if isinstance(one, Ref)}


def conjuncts(expression: Expression | None) -> tuple[Expression, ...]:
    """The parts of `a AND b AND c`."""
    if expression is None:
        return ()
    if isinstance(expression, Call) and expression.name == "AND":
        return tuple(part for side in expression.arguments for part in conjuncts(side))
    return (expression,)


def conjunction(parts: "tuple[Expression, ...]") -> Expression | None:
    """`a AND b AND c` of the parts; None of none."""
    if not parts:
        return None
    head, *rest = parts
    return Call("AND", (head, *rest), pa.bool_()) if rest else head


def replace(expression: Expression, known: "dict[Expression, Expression]") -> Expression:
    """The expression with every part that `known` holds replaced."""
    if expression in known:
        return known[expression]
    if isinstance(expression, Call):
        return Call(expression.name, tuple(replace(one, known) for one in expression.arguments), expression.type)
    if isinstance(expression, Cast):
        return Cast(replace(expression.value, known), expression.type)
    if isinstance(expression, Case):
        branches = tuple((replace(when, known), replace(then, known)) for when, then in expression.branches)
        return Case(branches, replace(expression.otherwise, known), expression.type)
    return expression
