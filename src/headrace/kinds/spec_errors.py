"""What pydantic found → problems in the words of this house."""

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from headrace.kinds.document import Location
from headrace.kinds.fields import FieldError
from headrace.kinds.kind import Problem
from headrace.kinds.mistake import nearest

_LIMITS = {
    "greater_than_equal": ("ge", "must be at least {}"),
    "greater_than": ("gt", "must be more than {}"),
    "less_than_equal": ("le", "must be at most {}"),
    "less_than": ("lt", "must be less than {}"),
}
_SHAPES = {
    "model_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
    "dict_type": "must be a mapping",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "string_type": "must be text",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
}


def problems_of(error: ValidationError, model: type[BaseModel]) -> Iterator[Problem]:
    """One problem per error. No value is repeated that a FieldError did not choose to show."""
    for item in error.errors(include_url=False, include_input=False):
        yield _problem(item["type"], tuple(item["loc"]), item["msg"], item.get("ctx", {}), model)


def _problem(
    kind: str, location: Location, message: str, context: Mapping[str, Any], model: type[BaseModel]
) -> Problem:
    if kind == "extra_forbidden":
        valid = keys_at(model, location[:-1])
        key = str(location[-1])
        homes = list(homes_of(key, model))
        hint = f"It belongs under {' or '.join(homes)}." if homes else None
        near = None if homes else nearest(key, valid)
        return Problem(location, f"unknown key {key!r}", valid, near, hint, of_key=True)
    if kind == "missing":
        return Problem(location[:-1], f"{location[-1]} is missing", hint=f"Write `{location[-1]}:`.", of_key=True)
    if isinstance(cause := context.get("error"), FieldError):
        return Problem(location, str(cause), cause.valid, cause.near, cause.hint)
    if kind in _LIMITS:
        name, form = _LIMITS[kind]
        return Problem(location, form.format(context.get(name)))
    if kind == "literal_error":
        return Problem(location, f"must be {context.get('expected', 'one of the valid words')}")
    if kind in ("too_short", "string_too_short"):
        return Problem(location, "must not be empty")
    return Problem(location, _SHAPES.get(kind, message.removeprefix("Value error, ")))


def keys_at(model: type[BaseModel], location: Location) -> tuple[str, ...]:
    """The keys that a block of the YAML may have."""
    current: type[BaseModel] | None = model
    for step in location:
        if isinstance(step, int) or current is None:
            continue
        found = next((info for name, info in current.model_fields.items() if step in (info.alias, name)), None)
        current = model_in(found.annotation) if found else None
    return tuple(info.alias or name for name, info in current.model_fields.items()) if current else ()


def homes_of(key: str, model: type[BaseModel], above: str = "") -> Iterator[str]:
    """The blocks of a spec that have this key, such as `trainer` for `batchSize`."""
    for name, info in model.model_fields.items():
        own = info.alias or name
        if above and own == key:
            yield above
        if inner := model_in(info.annotation):
            yield from homes_of(key, inner, f"{above}.{own}" if above else own)


def model_in(annotation: Any) -> type[BaseModel] | None:
    """The model inside of `Model | None`, `tuple[Model, ...]` and the like."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in get_args(annotation):
        if found := model_in(argument):
            return found
    return None
