"""From the logical plan to DuckDB's SQL.

Inside DuckDB every time is a TIMESTAMP without zone, in UTC; columns have the plan's own names, so that no name of the user's
reaches DuckDB. Beside them go hidden columns: `_o` (order by event time, then input), `_t` (event time, ms), `_g` (ingested at,
ms), `_n` (now, ms), and in windows `_ws`, `_we` (ms), the identity `_k0`, `_k1` …, and the rank `_r`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

import pyarrow as pa

from headrace.streams.expression import (
    AggregateCall,
    Call,
    Case,
    Cast,
    Constant,
    Duration,
    Expression,
    Now,
    Ref,
    Slot,
)
from headrace.streams.logical_plan import Aggregate, Project, Rank, Relation, Scan, StreamJoin, TableJoin, Window
from headrace.streams.prune import output_slots
from headrace.streams.sql_types import DOUBLE, category

_EXACT_DIGITS = 15
"""A DECIMAL of so many digits is a whole DOUBLE divided by a power of ten that is one too."""
OF_DOUBLES = frozenset({"SQRT", "POWER", "EXP", "LN", "LOG10", "LOG2"})
BASE = "base"
"""The name under which a fragment's input is registered."""


def type_sql(kind: pa.DataType) -> str:
    """DuckDB's name of a type."""
    if pa.types.is_decimal(kind):
        return f"DECIMAL({kind.precision}, {kind.scale})"
    if pa.types.is_timestamp(kind):
        return "TIMESTAMP"
    if pa.types.is_list(kind):
        return f"{type_sql(kind.value_type)}[]"
    names: dict[pa.DataType, str] = {
        pa.bool_(): "BOOLEAN", pa.int8(): "TINYINT", pa.int16(): "SMALLINT", pa.int32(): "INTEGER", pa.int64(): "BIGINT",
        pa.float32(): "FLOAT", pa.float64(): "DOUBLE", pa.string(): "VARCHAR", pa.binary(): "BLOB", pa.date32(): "DATE",
        pa.time64("us"): "TIME", pa.null(): "VARCHAR",
    }  # fmt: skip
    return names[kind]


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _constant(constant: Constant) -> str:
    value = constant.value
    if value is None:
        return f"CAST(NULL AS {type_sql(constant.type)})"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, Decimal):
        return f"CAST({_text(format(value, 'f'))} AS {type_sql(constant.type)})"
    return f"CAST({_text(repr(value))} AS {type_sql(constant.type)})"


def _cast(cast: Cast) -> str:
    value, kind = expression_sql(cast.value), cast.type
    given = category(cast.value.type)
    if given == "string" and category(kind) == "instant":
        return f"CAST(TRY_CAST({value} AS TIMESTAMPTZ) AS TIMESTAMP)"
    if given == "string" and category(kind) in ("integer", "number"):
        read = f"TRY_CAST(number_text({value}) AS {type_sql(kind)})"
        return f"finite({read})" if pa.types.is_floating(kind) else read
    if pa.types.is_floating(kind) and pa.types.is_decimal(cast.value.type):
        return _floating(value, cast.value.type, kind)
    if category(kind) == "integer" and given == "number":
        return f"TRY_CAST(trunc({value}) AS {type_sql(kind)})"
    if category(kind) == "string" and given == "instant":
        return f"strftime({value}, '%Y-%m-%d %H:%M:%S.%g')"
    return f"TRY_CAST({value} AS {type_sql(kind)})"


def _floating(value: str, given: pa.DataType, kind: pa.DataType = DOUBLE) -> str:
    """The nearest floating number. Of so many digits DuckDB finds it by their text alone."""
    if pa.types.is_decimal(given) and given.precision > _EXACT_DIGITS:
        value = f"CAST({value} AS VARCHAR)"
    return f"CAST({value} AS {type_sql(kind)})"


def _arithmetic(call: Call) -> str:
    left, right = (expression_sql(one) for one in call.arguments)
    kinds = [one.type for one in call.arguments]
    if category(call.type) == "instant":
        return f"try({left} {call.name} {right})"
    if call.type == DOUBLE:
        left, right = _floating(left, kinds[0]), _floating(right, kinds[1])
    elif category(call.type) == "integer":
        left, right = (f"CAST({one} AS {type_sql(call.type)})" for one in (left, right))
    if call.name in "/%":
        operator = "//" if call.name == "/" and category(call.type) == "integer" else call.name
        return f"try({left} {operator} NULLIF({right}, 0))"
    if all(pa.types.is_floating(one) for one in kinds):
        return f"({left} {call.name} {right})"
    return f"TRY_CAST(try({left} {call.name} {right}) AS {type_sql(call.type)})"


def _to_unit(name: str) -> Callable[[tuple[str, ...]], str]:
    def write(arguments: tuple[str, ...]) -> str:
        if len(arguments) == 1:
            return f"{name}({arguments[0]})"
        value, unit = arguments
        floor = f"CAST(date_trunc({unit.lower()}, {value}) AS TIMESTAMP)"
        if name == "floor":
            return floor
        step = {"'week'": "INTERVAL 7 DAY", "'quarter'": "INTERVAL 3 MONTH"}.get(
            unit.lower(), f"INTERVAL 1 {unit[1:-1]}"
        )
        return f"(CASE WHEN {floor} = {value} THEN {value} ELSE {floor} + {step} END)"

    return write


def _function(name: str) -> Callable[[tuple[str, ...]], str]:
    return lambda arguments: f"{name}({', '.join(arguments)})"


def _template(template: str) -> Callable[[tuple[str, ...]], str]:
    return lambda arguments: template.format(*arguments)


def _extremum(name: str) -> Callable[[tuple[str, ...]], str]:
    def write(arguments: tuple[str, ...]) -> str:
        missing = " OR ".join(f"{one} IS NULL" for one in arguments)
        return f"(CASE WHEN {missing} THEN NULL ELSE {name}({', '.join(arguments)}) END)"

    return write


def _difference(arguments: tuple[str, ...]) -> str:
    unit, start, end = arguments
    milliseconds = {
        "'SECOND'": 1000,
        "'MINUTE'": 60_000,
        "'HOUR'": 3_600_000,
        "'DAY'": 86_400_000,
        "'WEEK'": 604_800_000,
    }
    if unit in milliseconds:
        return f"((epoch_ms({end}) - epoch_ms({start})) // {milliseconds[unit]})"
    return f"date_sub({unit.lower()}, {start}, {end})"


def _later(arguments: tuple[str, ...]) -> str:
    unit, amount, value = arguments
    return f"try({value} + to_{unit[1:-1].lower()}s({amount}))"


def _concat(arguments: tuple[str, ...]) -> str:
    return f"({' || '.join(arguments)})"


def _instant_of(arguments: tuple[str, ...]) -> str:
    value, precision = f"CAST({arguments[0]} AS BIGINT)", arguments[1]
    return f"try(make_timestamp(CASE {precision} WHEN 0 THEN {value} * 1000000 WHEN 3 THEN {value} * 1000 END))"


SCALAR_SQL: dict[str, Callable[[tuple[str, ...]], str]] = {
    "ABS": _template("try(abs({0}))"), "CEIL": _to_unit("ceil"), "FLOOR": _to_unit("floor"),
    "ROUND": lambda a: f"(round({', '.join(a)}) + 0)", "TRUNCATE": _function("trunc"), "SIGN": _function("sign"),
    "SQRT": _template("(CASE WHEN {0} >= 0 THEN sqrt({0}) END)"),
    "POWER": _template("(CASE WHEN isfinite(try(pow({0}, {1}))) THEN try(pow({0}, {1})) END)"),
    "EXP": _template("(CASE WHEN isfinite(try(exp({0}))) THEN try(exp({0})) END)"),
    "LN": _template("(CASE WHEN {0} > 0 THEN ln({0}) END)"),
    "LOG10": _template("(CASE WHEN {0} > 0 THEN log10({0}) END)"),
    "LOG2": _template("(CASE WHEN {0} > 0 THEN log2({0}) END)"),
    "GREATEST": _extremum("greatest"), "LEAST": _extremum("least"), "COALESCE": _function("coalesce"),
    "IFNULL": _function("coalesce"), "NULLIF": _function("nullif"), "IF": _template("(CASE WHEN {0} THEN {1} ELSE {2} END)"),
    "UPPER": _function("capitals"), "LOWER": _function("small_letters"), "TRIM": _template("trim({0}, ' ')"),
    "LTRIM": _template("ltrim({0}, ' ')"), "RTRIM": _template("rtrim({0}, ' ')"),
    "CHAR_LENGTH": _function("length"), "CHARACTER_LENGTH": _function("length"),
    "SUBSTRING": _function("substring"), "SUBSTR": _function("substring"),
    "LEFT": _template("left({0}, greatest({1}, 0))"), "RIGHT": _template("right({0}, greatest({1}, 0))"),
    "REPLACE": _function("replace"), "CONCAT": _concat, "CONCAT_WS": _function("concat_ws"),
    "POSITION": _template("strpos({1}, {0})"), "INSTR": _template("strpos({0}, {1})"),
    "LPAD": _template("(CASE WHEN {1} <= 10000 THEN try(lpad({0}, CAST(greatest({1}, 0) AS INTEGER), {2})) END)"), "RPAD": _template("(CASE WHEN {1} <= 10000 THEN try(rpad({0}, CAST(greatest({1}, 0) AS INTEGER), {2})) END)"),
    "REPEAT": _template("(CASE WHEN {1} <= 10000 THEN repeat({0}, greatest({1}, 0)) END)"), "REVERSE": _function("back_to_front"),
    "STARTSWITH": _function("starts_with"), "ENDSWITH": _function("ends_with"),
    "SPLIT_INDEX": _template("(CASE WHEN {2} >= 0 THEN try(string_split({0}, {1})[{2} + 1]) END)"),
    "REGEXP": _template("try(regexp_matches({0}, {1}))"),
    "REGEXP_EXTRACT": lambda a: f"try(CASE WHEN regexp_matches({a[0]}, {a[1]}) THEN regexp_extract({a[0]}, {a[1]}, {a[2] if len(a) > 2 else 0}) END)",
    "REGEXP_REPLACE": _template("try(regexp_replace({0}, {1}, {2}, 'g'))"),
    "MD5": _function("md5"), "SHA256": _function("sha256"),
    "JSON_VALUE": _function("json_scalar"), "JSON_EXISTS": _function("json_there"),
    "EXTRACT": lambda a: f"date_part({a[0].lower()}, {a[1]})",
    "YEAR": _function("year"), "MONTH": _function("month"), "DAYOFMONTH": _function("day"),
    "DAYOFWEEK": _template("(dayofweek({0}) + 1)"), "HOUR": _function("hour"), "MINUTE": _function("minute"),
    "SECOND": _function("second"), "TIMESTAMPDIFF": _difference, "TIMESTAMPADD": _later,
    "TO_TIMESTAMP": _template("CAST(TRY_CAST({0} AS TIMESTAMPTZ) AS TIMESTAMP)"), "TO_TIMESTAMP_LTZ": _instant_of,
    "TO_DATE": _template("TRY_CAST({0} AS DATE)"), "UNIX_TIMESTAMP": _template("(epoch_ms({0}) // 1000)"),
}  # fmt: skip
"""How each function of the allow-list is spelled; arguments are SQL. NOW and MOD are bound to nodes of their own."""


def expression_sql(expression: Expression) -> str:
    """An expression without aggregates."""
    if isinstance(expression, Ref):
        return expression.slot.column
    if isinstance(expression, Constant):
        return _constant(expression)
    if isinstance(expression, Duration):
        return f"(to_months({expression.months}) + to_milliseconds({expression.milliseconds}))"
    if isinstance(expression, Now):
        return "make_timestamp(_n * 1000)"
    if isinstance(expression, Cast):
        return _cast(expression)
    if isinstance(expression, Case):
        branches = " ".join(
            f"WHEN {expression_sql(when)} THEN {expression_sql(then)}" for when, then in expression.branches
        )
        return f"(CASE {branches} ELSE {expression_sql(expression.otherwise)} END)"
    assert isinstance(expression, Call)
    return _call(expression)


def key_sql(expression: Expression) -> str:
    """An expression by which rows are told apart or compared: −0.0 is 0.0."""
    text = expression_sql(expression)
    return f"({text} + CAST(0 AS {type_sql(expression.type)}))" if pa.types.is_floating(expression.type) else text


def _call(call: Call) -> str:
    if call.name in "+-*/%":
        return _arithmetic(call)
    arguments = tuple(expression_sql(one) for one in call.arguments)
    if call.name in OF_DOUBLES:
        arguments = tuple(_floating(sql, one.type) for sql, one in zip(arguments, call.arguments, strict=True))
    if call.name in ("AND", "OR"):
        return f"({f' {call.name} '.join(arguments)})"
    if call.name == "NOT":
        return f"(NOT {arguments[0]})"
    if call.name == "IS NULL":
        return f"({arguments[0]} IS NULL)"
    if call.name == "IN":
        return f"({arguments[0]} IN ({', '.join(arguments[1:])}))"
    if call.name in SCALAR_SQL:
        return f"TRY_CAST({SCALAR_SQL[call.name](arguments)} AS {type_sql(call.type)})"
    return f"({arguments[0]} {call.name} {arguments[1]})"


def aggregate_sql(call: AggregateCall) -> str:
    """An aggregate over the rows of a group. Whatever depends on order is ordered by `_o`."""
    where = f" FILTER (WHERE {expression_sql(call.where)})" if call.where is not None else ""
    if not call.arguments:
        return f"count(*){where}"
    value = expression_sql(call.arguments[0])
    if call.distinct:
        return f"count(DISTINCT {key_sql(call.arguments[0])}){where}"
    floating = pa.types.is_floating(call.arguments[0].type)
    ordered = f"{value} ORDER BY _o" if floating else value
    if call.name == "SUM":
        return f"TRY_CAST(sum({ordered}){where} AS {type_sql(call.type)})"
    if call.name == "AVG" and not floating:
        return f"(CAST(CAST(sum({value}){where} AS VARCHAR) AS DOUBLE) / NULLIF(count({value}){where}, 0))"
    if call.name == "LISTAGG":
        separator = expression_sql(call.arguments[1]) if len(call.arguments) > 1 else "','"
        return f"string_agg({value}, {separator} ORDER BY _o){where}"
    if call.name == "PERCENTILE":
        return (
            f"quantile_cont({_floating(value, call.arguments[0].type)}, {float(str(call.arguments[1].value))}){where}"  # type: ignore[union-attr]
        )
    if call.name in ("FIRST_VALUE", "LAST_VALUE"):
        return f"{'arg_min' if call.name == 'FIRST_VALUE' else 'arg_max'}({value}, _o){where}"
    if call.name in ("MIN", "MAX", "COUNT"):
        return f"{call.name.lower()}({key_sql(call.arguments[0])}){where}"
    return f"{call.name.lower()}({_floating(value, call.arguments[0].type)} ORDER BY _o){where}"


@dataclass(slots=True)
class Fragment:
    """The SQL of the relations above one base."""

    sql: str
    hidden: tuple[str, ...]
    base: Relation
    """The Scan, Window or StreamJoin whose rows are registered as `base`."""
    keys: int = 0
    """How many `_k` columns there are."""
    ordered: bool = True
    """Whether rows are still in the base's order."""


def write(relation: Relation, known: tuple[Relation, Fragment] | None = None) -> Fragment:
    """The SQL of a relation over its base. `known`: a relation inside it whose SQL is given."""
    if known is not None and known[0] is relation:
        return known[1]
    if isinstance(relation, Scan | StreamJoin):
        return Fragment(f"SELECT * FROM {BASE}", ("_o", "_t", "_n"), relation)
    if isinstance(relation, Window):
        return _write_window(relation)
    if isinstance(relation, Project):
        return _write_project(relation, known)
    if isinstance(relation, Aggregate):
        values = [(slot, aggregate_sql(call)) for slot, call in relation.aggregates]
        return aggregate_fragment(relation, write(relation.source, known), values)
    if isinstance(relation, Rank):
        return _write_rank(relation, known)
    return _write_table_join(relation, known)


def _write_window(window: Window) -> Fragment:
    slots = ((window.slots.start, "_ws"), (window.slots.end, "_we"), (window.slots.time, "_we - 1"))
    added = ", ".join(f"make_timestamp(({value}) * 1000) AS {slot.column}" for slot, value in slots if slot is not None)
    return Fragment(f"SELECT *, {added} FROM {BASE}", ("_o", "_t", "_g", "_ws", "_we"), window)


def _write_project(project: Project, known: tuple[Relation, Fragment] | None) -> Fragment:
    inner = write(project.source, known)
    columns = [f"{_output(expression)} AS {slot.column}" for slot, expression in project.columns]
    where = f" WHERE {expression_sql(project.where)}" if project.where is not None else ""
    inner.sql = f"SELECT {', '.join([*columns, *inner.hidden])} FROM ({inner.sql}){where}"
    return inner


def _output(expression: Expression) -> str:
    text = expression_sql(expression)
    return text if isinstance(expression, Ref | Cast) else f"TRY_CAST({text} AS {type_sql(expression.type)})"


def aggregate_fragment(aggregate: Aggregate, inner: Fragment, values: Sequence[tuple[Slot, str]]) -> Fragment:
    """GROUP BY over a fragment. `values`: the aggregates, as SQL."""
    borders = {aggregate.window.start: "_ws", aggregate.window.end: "_we", aggregate.window.time: "_we - 1"}
    columns, keys = list[str](), list[str]()
    for slot, expression in aggregate.keys:
        border = borders.get(expression.slot) if isinstance(expression, Ref) else None
        if border is None:
            keys.append(key_sql(expression))
        text = f"make_timestamp(({border}) * 1000)" if border else keys[-1]
        columns.append(f"{text} AS {slot.column}")
    columns += [f"{text} AS {slot.column}" for slot, text in values]
    columns += ["min(_o) AS _o", "_we - 1 AS _t", "max(_g) AS _g", "_ws", "_we"]
    columns += [f"{key} AS _k{place}" for place, key in enumerate(keys)]
    sql = f"SELECT {', '.join(columns)} FROM ({inner.sql}) GROUP BY {', '.join(['_ws', '_we', *keys])}"
    return Fragment(sql, _hidden(len(keys)), inner.base, len(keys), ordered=False)


def _hidden(keys: int, *more: str) -> tuple[str, ...]:
    return ("_o", "_t", "_g", "_ws", "_we", *(f"_k{place}" for place in range(keys)), *more)


def _write_rank(rank: Rank, known: tuple[Relation, Fragment] | None) -> Fragment:
    inner = write(rank.source, known)
    partition = [key_sql(one) for one in rank.partition]
    order = [
        f"{key_sql(by)} {'DESC' if descending else 'ASC'} NULLS {'FIRST' if first else 'LAST'}"
        for by, descending, first in rank.order
    ]
    over = f"PARTITION BY {', '.join(['_ws', '_we', *partition])} ORDER BY {', '.join([*order, '_o'])}"
    number = f"row_number() OVER ({over})"
    plain = "_o, _t, _g, _ws, _we"
    keys = "".join(f", {one} AS _k{place}" for place, one in enumerate(partition))
    columns = ", ".join(slot.column for slot in sorted(output_slots(rank.source), key=lambda one: one.column))
    head = f"{columns}, " if columns else ""
    sql = f"SELECT {head}{number} AS {rank.slot.column}, {plain}{keys}, {number} AS _r FROM ({inner.sql})"
    return Fragment(sql, _hidden(len(partition), "_r"), inner.base, len(partition), ordered=False)


def _write_table_join(join: TableJoin, known: tuple[Relation, Fragment] | None) -> Fragment:
    inner = write(join.source, known)
    names = dict(join.columns)
    equal = [f"{expression_sql(expression)} = {names[name].column}" for expression, name in join.on]
    versioned = join.table.valid_from is not None
    word = f"{'ASOF ' if versioned else ''}{'LEFT ' if join.kind == 'LEFT' else ''}JOIN"
    if versioned:
        equal.append("_t >= _v")
    columns = ["l.*", *(f"r.{slot.column}" for _, slot in join.columns)]
    inner.sql = (
        f"SELECT {', '.join(columns)} FROM ({inner.sql}) AS l {word} {table_name(join)} AS r ON {' AND '.join(equal)}"
    )
    inner.ordered = False
    return inner


def table_name(join: TableJoin) -> str:
    """The name under which a joined table is registered: its first column is unique in the plan."""
    return f"table_{join.columns[0][1].column}"
