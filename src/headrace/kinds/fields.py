"""The types of fields: numbers that may be quoted, quantities, names, references.

Every reader raises FieldError, whose message never shows more than the value that was given.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, WithJsonSchema
from pydantic_core import core_schema

from headrace.foundation.quantities import parse_cpu, parse_duration_ms, parse_flink_memory, parse_memory
from headrace.kinds.mistake import nearest

MAX_NAME = 63
Value = TypeVar("Value")


class FieldError(ValueError):
    """A value that cannot be read, with what is valid."""

    def __init__(self, message: str, *, valid: tuple[str, ...] = (), near: str | None = None, hint: str | None = None):
        """As in Mistake."""
        super().__init__(message)
        self.valid, self.near, self.hint = valid, near, hint


@dataclass(frozen=True, slots=True)
class Refers:
    """Marks a field that names another resource of the namespace."""

    kind: str


def read_integer(value: object) -> int:
    """16 or '16'."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(r"[-+]?\d{1,18}", value.strip()):
        return int(value)
    raise FieldError(f"{_shown(value)} is not a whole number; use one such as 16")


def read_number(value: object) -> float:
    """0.5 or '0.5' or 5e-5."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, str) and re.fullmatch(r"[-+]?(\.\d+|\d+(\.\d*)?)([eE][-+]?\d+)?", value.strip()):
        return float(value)
    raise FieldError(f"{_shown(value)} is not a number; use one such as 0.5 or 5e-5")


def read_boolean(value: object) -> bool:
    """true, 'true', yes, on; and their opposites."""
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else ""
    if word in ("true", "yes", "on"):
        return True
    if word in ("false", "no", "off"):
        return False
    raise FieldError(f"{_shown(value)} is neither true nor false", valid=("true", "false"))


def read_text(value: object) -> str:
    """Text; a bare number is refused, because YAML may have dropped digits."""
    if isinstance(value, str):
        if not value.strip():
            raise FieldError("must not be empty")
        return value
    if isinstance(value, (bool, int, float)):
        raise FieldError(f"{_shown(value)} must be text", hint="Put it in quotes.")
    raise FieldError(f"{_shown(value)} must be text")


def read_name(value: object) -> str:
    """A Kubernetes name: an RFC 1123 label."""
    name = read_text(value)
    if len(name) > MAX_NAME:
        raise FieldError(f"{_shown(name)} is longer than {MAX_NAME} characters")
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", name):
        tame = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
        raise FieldError(
            f"{_shown(name)} is not a name; use small letters, digits and '-', with a letter or digit at both ends",
            near=tame or None,
        )
    return name


def read_moment(value: object) -> int:
    """A time with its zone, in ms since 1970 UTC."""
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(read_text(value))
    except ValueError:
        raise FieldError(f"{_shown(value)} is not a time", hint="Use the form 2024-05-01T00:00:00Z.") from None
    if moment.tzinfo is None:
        raise FieldError(f"{_shown(value)} has no time zone", hint="Append Z for UTC.")
    return round(moment.timestamp() * 1000)


def _quantity(parse: Callable[[str], Value]) -> Callable[[object], Value]:
    def read(value: object) -> Value:
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise FieldError(f"{_shown(value)} is not a quantity")
        try:
            return parse(str(value))
        except ValueError as error:
            raise FieldError(str(error)) from None

    return read


@dataclass(frozen=True, slots=True)
class Words:
    """Marks a field whose value is one of a closed set of words."""

    valid: tuple[str, ...]

    def read(self, value: object) -> str:
        """The word; FieldError names the nearest one."""
        if isinstance(value, str) and value in self.valid:
            return value
        near = nearest(value, self.valid) if isinstance(value, str) else None
        raise FieldError(f"{_shown(value)} is not valid here", valid=self.valid, near=near)

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_before_validator_function(self.read, handler(source))

    def __get_pydantic_json_schema__(self, schema: object, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"enum": list(self.valid)}


def words(*valid: str) -> Words:
    """Shorter to read in a spec than the class."""
    return Words(valid)


def listed_or_one(value: object) -> object:
    """`key: symbol` is `key: [symbol]`."""
    return [value] if isinstance(value, str) else value


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "…" + text[:1]


def _schema(kind: str, pattern: str | None = None, **more: Any) -> WithJsonSchema:
    quoted: dict[str, Any] = {"type": "string", **({"pattern": pattern} if pattern else {})}
    return WithJsonSchema({"anyOf": [{"type": kind, **more}, quoted]})


_DIGITS, _DECIMAL = r"^[-+]?\d+$", r"^[-+]?(\.\d+|\d+(\.\d*)?)([eE][-+]?\d+)?$"


@dataclass(frozen=True, slots=True)
class Form:
    """How a value is written, for the reference."""

    text: str
    is_duration: bool = False


Whole = Annotated[
    int,
    BeforeValidator(read_integer),
    Field(ge=0),
    _schema("integer", _DIGITS, minimum=0),
    Form("whole number from 0"),
]
"""A whole number, 0 allowed."""
Count = Annotated[
    int,
    BeforeValidator(read_integer),
    Field(ge=1),
    _schema("integer", _DIGITS, minimum=1),
    Form("whole number from 1"),
]
"""A whole number from 1."""
Positive = Annotated[
    float,
    BeforeValidator(read_number),
    Field(gt=0),
    _schema("number", _DECIMAL, exclusiveMinimum=0),
    Form("number above 0"),
]
NonNegative = Annotated[
    float,
    BeforeValidator(read_number),
    Field(ge=0),
    _schema("number", _DECIMAL, minimum=0),
    Form("number from 0"),
]
Ratio = Annotated[
    float,
    BeforeValidator(read_number),
    Field(gt=0, le=1),
    _schema("number", _DECIMAL, exclusiveMinimum=0, maximum=1),
    Form("number above 0, at most 1"),
]
"""More than 0, at most 1."""
Flag = Annotated[
    bool,
    BeforeValidator(read_boolean),
    _schema("boolean", r"^([Tt]rue|[Ff]alse|yes|no|on|off)$"),
    Form("true or false"),
]
Text = Annotated[str, BeforeValidator(read_text), WithJsonSchema({"type": "string", "minLength": 1}), Form("text")]
Name = Annotated[
    str,
    BeforeValidator(read_name),
    WithJsonSchema({"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength": MAX_NAME}),
    Form("name"),
]
DURATION_PATTERN = r"^(\d+(\.\d+)?\s*(ms|s|sec|m|min|h|d))+$"
DurationMs = Annotated[
    int,
    BeforeValidator(_quantity(parse_duration_ms)),
    WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN}),
    Form("duration, such as 30s", is_duration=True),
]
"""Milliseconds, written as a duration; 0s allowed."""
PositiveDurationMs = Annotated[DurationMs, Field(gt=0)]
"""The same, more than 0."""
MomentMs = Annotated[
    int,
    BeforeValidator(read_moment),
    WithJsonSchema({"type": "string", "format": "date-time"}),
    Form("time with its zone, such as 2024-05-01T00:00:00Z"),
]
"""Ms since 1970 UTC, written as ISO 8601 does."""
Cpu = Annotated[
    float,
    BeforeValidator(_quantity(parse_cpu)),
    _schema("number", r"^\d+(\.\d+)?m?$", exclusiveMinimum=0),
    Form("cores, such as 2 or 500m"),
]
"""Cores, written as Kubernetes does."""
Memory = Annotated[
    int,
    BeforeValidator(_quantity(parse_memory)),
    Field(gt=0),
    _schema("integer", r"^\d+(\.\d+)?(|k|M|G|T|Ki|Mi|Gi|Ti)$"),
    Form("memory, such as 24Gi"),
]
"""Bytes, written as Kubernetes does."""
FlinkMemory = Annotated[
    int,
    BeforeValidator(_quantity(parse_flink_memory)),
    Field(gt=0),
    _schema("integer", r"^\d+\s*([bB]|[kmgtKMGT][bB]?|bytes)?$"),
    Form("memory as Flink writes it, such as 8192m"),
]
"""Bytes, written as Flink does."""
Names = Annotated[tuple[Text, ...], BeforeValidator(listed_or_one), Form("list of columns, or one")]
"""A list of names of columns, or one."""


def duration_text(milliseconds: int) -> str:
    """How a duration is written: 90000 → 90s, 7200000 → 2h."""
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)):
        if milliseconds and milliseconds % size == 0:
            return f"{milliseconds // size}{unit}"
    return f"{milliseconds}ms" if milliseconds else "0s"
