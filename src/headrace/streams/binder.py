"""From parsed expressions to bound ones: resolves names, settles types, allows functions; refuses the rest with its place."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

import pyarrow as pa
from sqlglot import exp

from headrace.events.schema import arrow_type, type_name
from headrace.foundation.errors import InvalidDeclarationError, InvalidQueryError
from headrace.streams.dialect import TimeUnit
from headrace.streams.expression import AggregateCall, Call, Case, Cast, Constant, Duration, Expression, Now, Ref, Slot
from headrace.streams.functions import FUNCTIONS, OPERATORS, UNITS, Function
from headrace.streams.query_error import nearest, refuse
from headrace.streams.sql_types import (
    BIGINT,
    BOOLEAN,
    INSTANT,
    INT,
    MAX_PRECISION,
    NULL,
    STRING,
    accepts,
    arithmetic_type,
    category,
    common_type,
)

_UNIT_MS = {
    "MILLISECOND": 1,
    "SECOND": 1_000,
    "MINUTE": 60_000,
    "HOUR": 3_600_000,
    "DAY": 86_400_000,
    "WEEK": 604_800_000,
}
_UNIT_MONTHS = {"MONTH": 1, "QUARTER": 3, "YEAR": 12}
_COMPARISONS: dict[type[exp.Expr], str] = {
    exp.EQ: "=", exp.NEQ: "<>", exp.GT: ">", exp.GTE: ">=", exp.LT: "<", exp.LTE: "<=",
    exp.NullSafeEQ: "IS NOT DISTINCT FROM", exp.NullSafeNEQ: "IS DISTINCT FROM",
}  # fmt: skip
_ARITHMETIC: dict[type[exp.Expr], str] = {exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.Div: "/", exp.Mod: "%"}
_TYPES = {
    "TEXT": "STRING", "VARCHAR": "STRING", "CHAR": "STRING", "NCHAR": "STRING", "BOOLEAN": "BOOLEAN", "TINYINT": "TINYINT",
    "SMALLINT": "SMALLINT", "INT": "INT", "BIGINT": "BIGINT", "FLOAT": "FLOAT", "DOUBLE": "DOUBLE", "DATE": "DATE",
    "TIME": "TIME", "DECIMAL": "DECIMAL", "TIMESTAMP": "TIMESTAMP", "TIMESTAMPLTZ": "TIMESTAMP_LTZ", "VARBINARY": "BYTES",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Name:
    """A column as it can be written in a SELECT."""

    qualifier: str
    name: str
    slot: Slot


@dataclass(slots=True)
class Binder:
    """Binds the expressions of one SELECT."""

    sql: str
    names: Sequence[Name]
    aggregates: bool = False
    """Whether aggregates are allowed here."""

    def bind(self, node: exp.Expr | None) -> Expression:
        """The bound expression; InvalidQueryError."""
        for kind, rule in _RULES.items():
            if isinstance(node, kind):
                return rule(self, node)
        raise self.refuse(node, f"{_spelled(node)} is not supported", f"use {OPERATORS} or functions")

    def refuse(self, node: exp.Expr | None, reason: str, form: str | None = None) -> InvalidQueryError:
        return refuse(self.sql, node, reason, form)

    def bind_boolean(self, node: exp.Expr | None, where: str) -> Expression:
        """A condition."""
        bound = self.bind(node)
        if not accepts("boolean", bound.type):
            raise self.refuse(node, f"{where} needs a condition, not {_type(bound)}", "use a comparison")
        return bound if bound.type != NULL else Constant(None, BOOLEAN)

    def slot(self, node: exp.Column) -> Slot:
        """The column that a name stands for."""
        qualifier, name = node.table, node.name
        found = [one for one in self.names if one.name == name and qualifier in ("", one.qualifier)]
        if len(found) == 1:
            return found[0].slot
        if found:
            forms = " or ".join(f"{one.qualifier}.{name}" for one in found)
            raise self.refuse(node, f"{name} is ambiguous", f"write {forms}")
        if qualifier and qualifier not in {one.qualifier for one in self.names}:
            known = sorted({one.qualifier for one in self.names})
            raise self.refuse(
                node, f"there is no input {qualifier} here{nearest(qualifier, known)}", f"use {', '.join(known)}"
            )
        valid = [one.name for one in self.names if qualifier in ("", one.qualifier)]
        raise self.refuse(node, f"there is no column {name}{nearest(name, valid)}", f"columns here: {', '.join(valid)}")

    # --- the rules, one per kind of node ---

    def column(self, node: exp.Column) -> Expression:
        if node.args.get("db"):
            raise self.refuse(node, "a column can have only one qualifier", "write input.column")
        return Ref(self.slot(node))

    def literal(self, node: exp.Literal) -> Expression:
        text = str(node.this)
        if node.is_string:
            return Constant(text, STRING)
        if "e" in text.lower():
            return Constant(float(text), pa.float64())
        if "." not in text and int(text) < 2**63:
            return Constant(int(text), INT if int(text) < 2**31 else BIGINT)
        value = Decimal(text)
        digits, exponent = len(value.as_tuple().digits), -int(value.as_tuple().exponent)
        precision = max(digits, exponent + 1)  # as Flink counts: the nought before the point is a digit
        if precision > MAX_PRECISION:
            raise self.refuse(
                node, f"{text} has more than {MAX_PRECISION} digits", "write it with an exponent (1.5e0), as a DOUBLE"
            )
        return Constant(value, pa.decimal128(precision, exponent))

    def interval(self, node: exp.Interval) -> Expression:
        unit = node.args.get("unit")
        name = unit.name.upper().removesuffix("S") if isinstance(unit, exp.Var) else ""
        try:
            amount = Decimal(node.this.name if isinstance(node.this, exp.Literal) else "x")
        except ArithmeticError:
            amount = None
        if amount is None or name not in {**_UNIT_MS, **_UNIT_MONTHS}:
            raise self.refuse(node, "this INTERVAL is not valid", "write INTERVAL '1' DAY (SECOND to YEAR)")
        months = amount * _UNIT_MONTHS.get(name, 0)
        milliseconds = amount * _UNIT_MS.get(name, 0)
        if months % 1 or milliseconds % 1:
            raise self.refuse(
                node, "an INTERVAL must be a whole number of milliseconds or months", "write INTERVAL '1' DAY"
            )
        return Duration(int(months), int(milliseconds))

    def compare(self, node: exp.Binary) -> Expression:
        left, right = self.bind(node.left), self.bind(node.right)
        return Call(_COMPARISONS[type(node)], self._alike(node, (left, right)), BOOLEAN)

    def _alike(self, node: exp.Expr, values: tuple[Expression, ...]) -> tuple[Expression, ...]:
        """The values, converted to the type that they have in common."""
        instants = [one.type for one in values if category(one.type) in ("instant", "date")]
        if instants:
            values = tuple(
                Cast(one, instants[0]) if isinstance(one, Constant) and one.type == STRING else one for one in values
            )
        kind: pa.DataType | None = NULL
        for value in values:
            wider = common_type(kind, value.type) if kind is not None else None
            if wider is None:
                raise self.refuse(
                    node, f"{_type(values[0])} and {_type(value)} have no common type", "CAST one of them"
                )
            kind = wider
        assert kind is not None
        return tuple(_converted(value, kind) for value in values)

    def arithmetic(self, node: exp.Binary) -> Expression:
        operator, left, right = _ARITHMETIC[type(node)], self.bind(node.left), self.bind(node.right)
        kinds = (category(left.type), category(right.type))
        if operator in "+-" and kinds[0] in ("instant", "date") and kinds[1] == "interval":
            return Call(operator, (_as_instant(left), right), _as_instant(left).type)
        if operator == "+" and kinds[0] == "interval" and kinds[1] in ("instant", "date"):
            return Call(operator, (_as_instant(right), left), _as_instant(right).type)
        if kinds == ("instant", "instant"):
            raise self.refuse(node, "times cannot be subtracted", "write TIMESTAMPDIFF(SECOND, from, to)")
        for side, kind in ((node.left, left), (node.right, right)):
            if not accepts("number", kind.type):
                raise self.refuse(side, f"{operator} needs numbers, not {_type(kind)}", "CAST it to a number")
        return Call(operator, (left, right), arithmetic_type(operator, left.type, right.type))

    def negate(self, node: exp.Neg) -> Expression:
        value = self.bind(node.this)
        if isinstance(value, Constant) and isinstance(value.value, int | float | Decimal):
            return Constant(-value.value, value.type)
        if not accepts("number", value.type):
            raise self.refuse(node, f"− needs a number, not {_type(value)}", "CAST it to a number")
        return Call("-", (Constant(0, INT), value), arithmetic_type("-", INT, value.type))

    def logic(self, node: exp.Connector) -> Expression:
        name = "AND" if isinstance(node, exp.And) else "OR"
        return Call(name, (self.bind_boolean(node.left, name), self.bind_boolean(node.right, name)), BOOLEAN)

    def not_(self, node: exp.Not) -> Expression:
        return Call("NOT", (self.bind_boolean(node.this, "NOT"),), BOOLEAN)

    def is_(self, node: exp.Is) -> Expression:
        value, other = self.bind(node.this), node.expression
        if isinstance(other, exp.Null):
            return Call("IS NULL", (value,), BOOLEAN)
        if isinstance(other, exp.Boolean):
            return Call("IS NOT DISTINCT FROM", (value, Constant(bool(other.this), BOOLEAN)), BOOLEAN)
        raise self.refuse(node, "IS takes NULL, TRUE or FALSE", "write x IS NULL")

    def in_(self, node: exp.In) -> Expression:
        if node.args.get("query") or not node.expressions:
            raise self.refuse(node, "IN takes a list of values", "join the table, or write x IN ('a', 'b')")
        values = tuple(self.bind(one) for one in (node.this, *node.expressions))
        return Call("IN", self._alike(node, values), BOOLEAN)

    def between(self, node: exp.Between) -> Expression:
        value, low, high = self._alike(node, tuple(self.bind(node.args[part]) for part in ("this", "low", "high")))
        return Call("AND", (Call(">=", (value, low), BOOLEAN), Call("<=", (value, high), BOOLEAN)), BOOLEAN)

    def like(self, node: exp.Like) -> Expression:
        left, right = self.bind(node.this), self.bind(node.expression)
        for side in (left, right):
            if not accepts("string", side.type):
                raise self.refuse(node, f"LIKE needs strings, not {_type(side)}", "CAST it to STRING")
        return Call("LIKE", (left, right), BOOLEAN)

    def concat(self, node: exp.DPipe) -> Expression:
        return Call("CONCAT", tuple(self._text(side) for side in (node.left, node.right)), STRING)

    def _text(self, node: exp.Expr) -> Expression:
        value = self.bind(node)
        return value if value.type == STRING else Cast(value, STRING)

    def case(self, node: exp.Case) -> Expression:
        branches: list[tuple[Expression, Expression]] = []
        for branch in node.args["ifs"]:
            if node.this is not None:
                pair = self._alike(branch, (self.bind(node.this), self.bind(branch.this)))
                condition: Expression = Call("=", pair, BOOLEAN)
            else:
                condition = self.bind_boolean(branch.this, "WHEN")
            branches.append((condition, self.bind(branch.args["true"])))
        default = node.args.get("default")
        otherwise = self.bind(default) if default is not None else Constant(None, NULL)
        values = self._alike(node, (*(then for _, then in branches), otherwise))
        pairs = zip((when for when, _ in branches), values[:-1], strict=True)
        return Case(tuple(pairs), values[-1], values[0].type)

    def cast(self, node: exp.Cast) -> Expression:
        return Cast(self.bind(node.this), self._declared_type(node.to))

    def _declared_type(self, node: exp.DataType) -> pa.DataType:
        base = _TYPES.get(node.this.name if hasattr(node.this, "name") else str(node.this))
        text = f"{base}({', '.join(str(one.this) for one in node.expressions)})" if node.expressions else base
        try:
            if base == "STRING":
                return STRING
            return arrow_type(text or "")
        except InvalidDeclarationError as error:
            raise self.refuse(node, "this type is not supported", error.next_step) from error

    def extract(self, node: exp.Extract) -> Expression:
        return self._call(node, FUNCTIONS["EXTRACT"], (node.this, node.expression))

    def position(self, node: exp.StrPosition) -> Expression:
        return self._call(node, FUNCTIONS["POSITION"], (node.args["substr"], node.this))

    def trim(self, node: exp.Trim) -> Expression:
        if node.args.get("expression") is not None or node.args.get("position"):
            raise self.refuse(node, "TRIM removes only spaces", "write TRIM(x), LTRIM(x) or RTRIM(x)")
        return self._call(node, FUNCTIONS["TRIM"], (node.this,))

    def now(self, _node: exp.Expr) -> Expression:
        return Now(INSTANT)

    def function(self, node: exp.Anonymous) -> Expression:
        name = node.name.upper()
        function = FUNCTIONS.get(name)
        if function is None:
            raise self.refuse(
                node,
                f"the function {name} is not allowed{nearest(name, FUNCTIONS)}",
                "see docs/sql.md for the functions that may be called",
            )
        if name == "NOW":
            return Now(INSTANT)
        if function.aggregate:
            return self._aggregate(node, function, None)
        return self._call(node, function, tuple(node.expressions))

    def _call(self, node: exp.Expr, function: Function, arguments: tuple[exp.Expr, ...]) -> Expression:
        self._check_count(node, function, len(arguments))
        bound = tuple(self.argument(node, function, place, argument) for place, argument in enumerate(arguments))
        if "same" in function.parameters:
            head = tuple(one for one, wanted in zip(bound, function.parameters, strict=False) if wanted != "same")
            bound = (*head, *self._alike(node, bound[len(head) :]))
        kinds = tuple(one.type for one in bound)
        if function.name == "MOD":
            return Call("%", bound, arithmetic_type("%", *kinds))
        result = kinds[0] if function.name in ("FLOOR", "CEIL") else function.result(kinds)
        return Call(function.name, bound, result)

    def _check_count(self, node: exp.Expr, function: Function, given: int) -> None:
        most = len(function.parameters)
        if given < most - function.optional or (given > most and not function.variadic):
            raise self.refuse(node, f"{function.name} does not take {given} arguments", f"write {function.signature}")

    def argument(self, node: exp.Expr, function: Function, place: int, argument: exp.Expr) -> Expression:
        wanted = function.parameters[min(place, len(function.parameters) - 1)]
        if wanted == "unit":
            return self._unit(node, function, argument)
        if isinstance(argument, exp.Distinct | exp.Star):
            raise self.refuse(
                node, f"{function.name} does not take {_spelled(argument)}", f"write {function.signature}"
            )
        bound = self.bind(argument)
        to_unit = function.name in ("FLOOR", "CEIL") and len(node.expressions) == 2
        wanted = "instant" if to_unit else wanted
        if wanted == "instant" and category(bound.type) == "date":
            return _as_instant(bound)
        if isinstance(bound, Duration) or (wanted not in ("any", "same") and not accepts(wanted, bound.type)):
            raise self.refuse(
                argument,
                f"{function.name} needs {wanted if wanted != 'same' else 'any'} here, not {_type(bound)}",
                f"CAST it, or write {function.signature}",
            )
        return bound

    def _unit(self, node: exp.Expr, function: Function, argument: exp.Expr) -> Expression:
        name = argument.this if isinstance(argument, TimeUnit) else argument.name
        if str(name).upper() not in UNITS:
            raise self.refuse(
                node, f"{function.name} takes a unit of time, not {name}", f"use one of {', '.join(UNITS)}"
            )
        return Constant(str(name).upper(), STRING)

    def filtered(self, node: exp.Filter) -> Expression:
        inner = node.this
        function = FUNCTIONS.get(inner.name.upper()) if isinstance(inner, exp.Anonymous) else None
        if function is None or not function.aggregate:
            raise self.refuse(node, "FILTER follows an aggregate", "write COUNT(*) FILTER (WHERE …)")
        condition = Binder(self.sql, self.names).bind_boolean(node.expression.this, "FILTER")
        return self._aggregate(inner, function, condition)

    def _aggregate(self, node: exp.Expr, function: Function, where: Expression | None) -> Expression:
        if not self.aggregates:
            raise self.refuse(
                node,
                f"{function.name} is an aggregate and is not allowed here",
                "use it in SELECT or HAVING of a windowed GROUP BY",
            )
        inner = Binder(self.sql, self.names)
        arguments: list[exp.Expr] = list(node.expressions)
        distinct = bool(arguments) and isinstance(arguments[0], exp.Distinct)
        if distinct:
            if function.name != "COUNT":
                raise self.refuse(node, f"{function.name}(DISTINCT …) is not supported", "write COUNT(DISTINCT x)")
            arguments = list(arguments[0].expressions)
        if function.name == "COUNT" and (not arguments or isinstance(arguments[0], exp.Star)):
            return AggregateCall("COUNT", (), BIGINT, where=where)
        self._check_count(node, function, len(arguments))
        bound = tuple(inner.argument(node, function, place, one) for place, one in enumerate(arguments))
        for one, argument in zip(bound[1:], arguments[1:], strict=True):
            if not isinstance(one, Constant):
                raise self.refuse(
                    argument,
                    f"the second argument of {function.name} must be a constant",
                    f"write {function.signature}",
                )
        if function.name == "PERCENTILE" and not 0 <= float(getattr(bound[1], "value", 2) or 0) <= 1:
            raise self.refuse(arguments[1], "a percentile must be between 0 and 1", "write PERCENTILE(x, 0.5)")
        result = function.result(tuple(one.type for one in bound))
        return AggregateCall(function.name, bound, result, distinct, where)


def _converted(value: Expression, kind: pa.DataType) -> Expression:
    if value.type == kind:
        return value
    if isinstance(value, Constant) and category(kind) == "integer":
        return Constant(value.value, kind)
    return Cast(value, kind)


def _as_instant(value: Expression) -> Expression:
    return Cast(value, pa.timestamp("ms")) if category(value.type) == "date" else value


def _type(value: Expression) -> str:
    if value.type == NULL:
        return "NULL"
    return "INTERVAL" if isinstance(value, Duration) else type_name(value.type)


def _spelled(node: exp.Expr | None) -> str:
    known = {"Star": "*", "Window": "OVER", "Subquery": "a subquery", "Select": "a subquery", "Exists": "EXISTS"}
    name = type(node).__name__
    return known.get(name, name.upper())


def _null(_binder: Binder, _node: exp.Expr) -> Expression:
    return Constant(None, NULL)


def _boolean(_binder: Binder, node: exp.Expr) -> Expression:
    return Constant(bool(node.this), BOOLEAN)


def _inside(binder: Binder, node: exp.Expr) -> Expression:
    return binder.bind(node.this)


_RULES: dict[type[exp.Expr] | tuple[type[exp.Expr], ...], Callable[..., Expression]] = {
    exp.Column: Binder.column,
    exp.Literal: Binder.literal,
    exp.Null: _null,
    exp.Boolean: _boolean,
    exp.Paren: _inside,
    exp.Alias: _inside,
    exp.Interval: Binder.interval,
    tuple(_COMPARISONS): Binder.compare,
    tuple(_ARITHMETIC): Binder.arithmetic,
    exp.Neg: Binder.negate,
    (exp.And, exp.Or): Binder.logic,
    exp.Not: Binder.not_,
    exp.Is: Binder.is_,
    exp.In: Binder.in_,
    exp.Between: Binder.between,
    exp.Like: Binder.like,
    exp.DPipe: Binder.concat,
    exp.Case: Binder.case,
    exp.Cast: Binder.cast,
    exp.Extract: Binder.extract,
    exp.StrPosition: Binder.position,
    exp.Trim: Binder.trim,
    exp.CurrentTimestamp: Binder.now,
    exp.Filter: Binder.filtered,
    exp.Anonymous: Binder.function,
}
