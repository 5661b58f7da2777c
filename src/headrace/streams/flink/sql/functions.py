"""How each function of the allow-list is spelled on Flink, with guards where Flink would fail or answer otherwise."""

from collections.abc import Callable

import pyarrow as pa

from headrace.streams.expression import Call, Constant
from headrace.streams.flink.sql.casts import BOUNDS, cast_sql, double_sql, finite, within
from headrace.streams.flink.sql.types import SHIFT_YEARS, epoch_ms, inner_type, instant, shifted, text, unshifted
from headrace.streams.sql_types import category

Writer = Callable[[Call, tuple[str, ...]], str]
"""(call, arguments as SQL) → SQL"""
_UNIT_MS = {"SECOND": 1000, "MINUTE": 60_000, "HOUR": 3_600_000, "DAY": 86_400_000, "WEEK": 604_800_000}
_LATEST = 253_402_300_799


def _template(template: str) -> Writer:
    return lambda _call, arguments: template.format(*arguments)


def _double(template: str, condition: str = "") -> Writer:
    """A function of DOUBLEs; NULL where it is not finite, or `condition` does not hold."""

    def write(call: Call, arguments: tuple[str, ...]) -> str:
        numbers = tuple(double_sql(sql, one.type) for sql, one in zip(arguments, call.arguments, strict=True))
        value = finite(template.format(*numbers))
        return f"(CASE WHEN {condition.format(*numbers)} THEN {value} END)" if condition else value

    return write


def _unit(call: Call) -> str:
    unit = call.arguments[0]
    assert isinstance(unit, Constant)
    return str(unit.value)


def _abs(call: Call, arguments: tuple[str, ...]) -> str:
    low = BOUNDS.get(call.type, (None,))[0]
    guard = (
        f"{arguments[0]} = {low}"
        if low is not None and call.type != pa.int64()
        else f"{arguments[0]} < -{(1 << 63) - 1}"
    )
    return f"ABS({arguments[0]})" if low is None else f"(CASE WHEN {guard} THEN NULL ELSE ABS({arguments[0]}) END)"


def _to_unit(*, up: bool) -> Writer:
    def write(call: Call, arguments: tuple[str, ...]) -> str:
        count = len(arguments)
        if count == 1:
            kind = call.arguments[0].type
            if category(kind) == "integer":
                return arguments[0]
            value = f"{'CEIL' if up else 'FLOOR'}({arguments[0]})"
            return within(value, kind) if pa.types.is_decimal(kind) else f"CAST({value} AS {inner_type(call.type)})"
        unit = call.arguments[1]
        assert isinstance(unit, Constant)
        value, word = arguments[0], str(unit.value)
        later = shifted(value)
        floor = f"FLOOR({later} TO {word})"
        if word == "WEEK":  # Flink's weeks begin on Sunday
            floor = f"TIMESTAMPADD(DAY, -MOD(CAST(DAYOFWEEK({later}) AS INT) + 5, 7), FLOOR({later} TO DAY))"
        floor = f"CAST({unshifted(floor)} AS {inner_type(call.type)})"
        if not up:
            return floor
        step = {"WEEK": "INTERVAL '7' DAY", "QUARTER": "INTERVAL '3' MONTH"}.get(word, f"INTERVAL '1' {word}")
        return f"(CASE WHEN {floor} = {value} THEN {value} ELSE CAST({floor} + {step} AS {inner_type(call.type)}) END)"

    return write


def _rounded(name: str) -> Writer:
    def write(call: Call, arguments: tuple[str, ...]) -> str:
        count = len(arguments)
        if category(call.arguments[0].type) == "integer" and count == 1:
            return arguments[0]
        digits = arguments[1] if count > 1 else "0"
        if name == "TRUNCATE" and pa.types.is_floating(call.arguments[0].type):
            return f"CAST(CASE WHEN {arguments[0]} < 0 THEN CEIL({arguments[0]}) ELSE FLOOR({arguments[0]}) END AS {inner_type(call.type)})"
        value = f"{name}({arguments[0]}, {digits})"
        return (
            within(value, call.type)
            if pa.types.is_decimal(call.type)
            else f"TRY_CAST({value} AS {inner_type(call.type)})"
        )

    return write


def _extremum(operator: str) -> Writer:
    """GREATEST and LEAST: NULL where one is NULL."""

    def write(_call: Call, arguments: tuple[str, ...]) -> str:
        value = arguments[0]
        for one in arguments[1:]:
            value = f"(CASE WHEN {value} IS NULL OR {one} IS NULL THEN NULL WHEN {value} {operator} {one} THEN {value} ELSE {one} END)"
        return value

    return write


def _part(call: Call, arguments: tuple[str, ...]) -> str:
    return part_of(_unit(call), arguments[1])


def part_of(unit: str, value: str) -> str:
    """A part of a time."""
    found = f"EXTRACT({unit} FROM {shifted(value)})"
    return f"({found} - {SHIFT_YEARS})" if unit == "YEAR" else found


def _named_part(unit: str) -> Writer:
    return lambda _call, arguments: part_of(unit, arguments[0])


def _difference(call: Call, arguments: tuple[str, ...]) -> str:
    unit = _unit(call)
    if unit in _UNIT_MS:
        value = f"(({epoch_ms(arguments[2])} - {epoch_ms(arguments[1])}) / {_UNIT_MS[unit]})"
        low, high = BOUNDS[pa.int32()]
        return f"(CASE WHEN {value} BETWEEN {low} AND {high} THEN CAST({value} AS INT) END)"
    return f"TIMESTAMPDIFF({unit}, {arguments[1]}, {arguments[2]})"


def _later(call: Call, arguments: tuple[str, ...]) -> str:
    amount = f"(CASE WHEN {arguments[1]} BETWEEN -2000000000 AND 2000000000 THEN CAST({arguments[1]} AS INT) END)"
    return f"CAST(TIMESTAMPADD({_unit(call)}, {amount}, {arguments[2]}) AS {inner_type(call.type)})"


def _substring(call: Call, arguments: tuple[str, ...]) -> str:
    """From the n-th letter, counted from the end where n is negative; letters before the first count, but are not there."""
    value, first = arguments[0], arguments[1]
    start = call.arguments[1]
    count = len(arguments)
    length = call.arguments[2] if count > 2 else None
    plain = isinstance(start, Constant) and isinstance(start.value, int) and start.value >= 1
    known = length is None or (isinstance(length, Constant) and isinstance(length.value, int) and length.value >= 0)
    if plain and known:
        return f"SUBSTRING({', '.join((value, *(f'CAST({one} AS INT)' for one in arguments[1:])))})"
    place = f"CAST({first} AS BIGINT)"
    begin = f"(CASE WHEN {place} < 0 THEN CHAR_LENGTH({value}) + {place} + 1 ELSE {place} END)"
    if length is None:
        return f"SUBSTRING({value}, CAST(CASE WHEN {begin} < 1 THEN 1 ELSE {begin} END AS INT))"
    size = f"CAST({arguments[2]} AS BIGINT)"
    low = f"(CASE WHEN {size} < 0 THEN {begin} + {size} ELSE {begin} END)"
    high = f"(CASE WHEN {size} < 0 THEN {begin} ELSE {begin} + {size} END)"
    low, high = (
        f"(CASE WHEN {one} < 1 THEN 1 WHEN {one} > CHAR_LENGTH({value}) + 1 THEN CHAR_LENGTH({value}) + 1 ELSE {one} END)"
        for one in (low, high)
    )
    inside = f"SUBSTRING({value}, CAST({low} AS INT), CAST({high} - {low} AS INT))"
    return f"(CASE WHEN {value} IS NULL OR {place} IS NULL OR {size} IS NULL THEN NULL WHEN {high} <= {low} THEN '' ELSE {inside} END)"


def _end(name: str) -> Writer:
    def write(_call: Call, arguments: tuple[str, ...]) -> str:
        amount = f"CAST(CASE WHEN {arguments[1]} < 0 THEN 0 WHEN {arguments[1]} > 2147483647 THEN 2147483647 ELSE COALESCE({arguments[1]}, 0) END AS INT)"
        return f"{name}({arguments[0]}, {amount})"

    return write


def _pad(name: str) -> Writer:
    def write(_call: Call, arguments: tuple[str, ...]) -> str:
        value, size, fill = arguments
        cut = f"CAST(CASE WHEN {size} < 0 THEN 0 ELSE {size} END AS INT)"
        missing = f"({size} - CHAR_LENGTH({value}))"
        filling = f"LEFT(REPEAT({fill}, CAST({missing} / CHAR_LENGTH({fill}) + 1 AS INT)), CAST({missing} AS INT))"
        whole = f"{filling} || {value}" if name == "LPAD" else f"{value} || {filling}"
        padded = f"(CASE WHEN {size} <= CHAR_LENGTH({value}) THEN LEFT({value}, {cut}) WHEN CHAR_LENGTH({fill}) > 0 THEN {whole} END)"
        return f"(CASE WHEN {size} <= 10000 AND {fill} IS NOT NULL THEN {padded} END)"

    return write


def _split(_call: Call, arguments: tuple[str, ...]) -> str:
    value, separator, place = arguments
    letter = f"CASE WHEN {place} < CHAR_LENGTH({value}) THEN SUBSTRING({value}, CAST({place} + 1 AS INT), 1) END"
    found = f"CASE WHEN {value} = '' THEN CASE WHEN {place} = 0 THEN '' END WHEN {separator} = '' THEN {letter} ELSE SPLIT_INDEX({value}, {separator}, CAST({place} AS INT)) END"
    return f"(CASE WHEN {place} >= 0 AND {place} < 2147483647 THEN {found} END)"


def _if(_call: Call, arguments: tuple[str, ...]) -> str:
    return f"(CASE WHEN {arguments[0]} THEN {arguments[1]} ELSE {arguments[2]} END)"


def _extract_group(_call: Call, arguments: tuple[str, ...]) -> str:
    count = len(arguments)
    group = arguments[2] if count > 2 else "0"
    return f"REGEXP_EXTRACT({arguments[0]}, {arguments[1]}, CAST({group} AS INT))"


def _instant_of(call: Call, arguments: tuple[str, ...]) -> str:
    precision = call.arguments[1]
    assert isinstance(precision, Constant)
    limit = _LATEST * (1000 if precision.value == 3 else 1)
    value = f"CAST({arguments[0]} AS BIGINT)"
    milliseconds = value if precision.value == 3 else f"{value} * 1000"
    return f"(CASE WHEN {value} BETWEEN -{limit} AND {limit} THEN {instant(milliseconds)} END)"


def _time_of_text(call: Call, arguments: tuple[str, ...]) -> str:
    return cast_sql(arguments[0], pa.string(), call.type)


def _null_if(_call: Call, arguments: tuple[str, ...]) -> str:
    return f"(CASE WHEN {arguments[0]} = {arguments[1]} THEN NULL ELSE {arguments[0]} END)"


def _sign(_call: Call, arguments: tuple[str, ...]) -> str:
    return f"(CASE WHEN {arguments[0]} > 0 THEN 1 WHEN {arguments[0]} < 0 THEN -1 WHEN {arguments[0]} = 0 THEN 0 END)"


def _json(name: str) -> Writer:
    """In brackets, or Flink would take a text for JSON that continues behind its end."""

    def write(call: Call, arguments: tuple[str, ...]) -> str:
        path = call.arguments[1]
        assert isinstance(path, Constant)
        inside = text(f"$[0]{str(path.value)[1:]}")
        whole = f"('{{\"_\":' || {arguments[0]} || '}}') IS JSON"
        return f"(CASE WHEN {whole} THEN {name}(('[' || {arguments[0]} || ']'), {inside}) END)"

    return write


def _listed(name: str) -> Writer:
    return lambda _call, arguments: f"{name}({', '.join(arguments)})"


SCALAR_SQL: dict[str, Writer] = {
    "ABS": _abs, "CEIL": _to_unit(up=True), "FLOOR": _to_unit(up=False), "ROUND": _rounded("ROUND"),
    "TRUNCATE": _rounded("TRUNCATE"), "SIGN": _sign, "SQRT": _double("SQRT({0})", "{0} >= 0"),
    "POWER": _double("POWER({0}, {1})"), "EXP": _double("EXP({0})"), "LN": _double("LN({0})", "{0} > 0"),
    "LOG10": _double("LOG10({0})", "{0} > 0"), "LOG2": _double("LOG2({0})", "{0} > 0"),
    "GREATEST": _extremum(">="), "LEAST": _extremum("<="), "COALESCE": _listed("COALESCE"), "IFNULL": _listed("COALESCE"),
    "NULLIF": _null_if, "IF": _if, "UPPER": _template("UPPER(CAST({0} AS STRING))"), "LOWER": _template("LOWER(REPLACE({0}, 'Σ', 'σ'))"),
    "TRIM": _template("TRIM(BOTH ' ' FROM {0})"), "LTRIM": _template("TRIM(LEADING ' ' FROM {0})"),
    "RTRIM": _template("TRIM(TRAILING ' ' FROM {0})"), "CHAR_LENGTH": _template("CHAR_LENGTH({0})"),
    "CHARACTER_LENGTH": _template("CHAR_LENGTH({0})"), "SUBSTRING": _substring, "SUBSTR": _substring,
    "LEFT": _end("LEFT"), "RIGHT": _end("RIGHT"), "REPLACE": _template("(CASE WHEN {1} = '' THEN {0} ELSE REPLACE({0}, {1}, {2}) END)"),
    "CONCAT": lambda _call, arguments: f"({' || '.join(arguments)})", "CONCAT_WS": _listed("CONCAT_WS"),
    "POSITION": _template("CAST(POSITION({0} IN {1}) AS INT)"), "INSTR": _template("CAST(POSITION({1} IN {0}) AS INT)"),
    "LPAD": _pad("LPAD"), "RPAD": _pad("RPAD"),
    "REPEAT": _template("(CASE WHEN {1} <= 0 THEN CASE WHEN {0} IS NOT NULL THEN '' END WHEN {1} <= 10000 THEN REPEAT({0}, CAST({1} AS INT)) END)"),
    "REVERSE": _template("REVERSE({0})"), "STARTSWITH": _template("STARTSWITH({0}, {1})"),
    "ENDSWITH": _template("ENDSWITH({0}, {1})"), "SPLIT_INDEX": _split, "REGEXP": _template("REGEXP({0}, {1})"),
    "REGEXP_EXTRACT": _extract_group, "REGEXP_REPLACE": _template("REGEXP_REPLACE({0}, {1}, {2})"),
    "MD5": _template("MD5({0})"), "SHA256": _template("SHA256({0})"), "JSON_VALUE": _json("JSON_VALUE"),
    "JSON_EXISTS": lambda call, arguments: f"COALESCE({_json('JSON_EXISTS')(call, arguments)}, FALSE)", "EXTRACT": _part,
    "YEAR": _named_part("YEAR"), "MONTH": _named_part("MONTH"),
    "DAYOFMONTH": _named_part("DAY"), "DAYOFWEEK": lambda call, arguments: f"CAST(DAYOFWEEK({shifted(arguments[0])}) AS {inner_type(call.type)})",
    "HOUR": _named_part("HOUR"), "MINUTE": _named_part("MINUTE"),
    "SECOND": _named_part("SECOND"), "TIMESTAMPDIFF": _difference, "TIMESTAMPADD": _later,
    "TO_TIMESTAMP": _time_of_text, "TO_TIMESTAMP_LTZ": _instant_of, "TO_DATE": _time_of_text,
    "UNIX_TIMESTAMP": _template("EXTRACT(EPOCH FROM {0})"),
}  # fmt: skip
