"""What pydantic found → problems in the words of this house."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError

from headrace.kinds.document import Location, Plain
from headrace.kinds.fields import MAX_NAME, FieldError
from headrace.kinds.mistake import nearest
from headrace.kinds.problem import Problem

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


def problems_of(error: ValidationError, model: type[BaseModel], given: Plain = None) -> Iterator[Problem]:
    """One problem per error. No value of `given` is repeated that a FieldError did not choose to show."""
    for item in error.errors(include_url=False, include_input=False):
        problem = _problem(item["type"], tuple(item["loc"]), item["msg"], item.get("ctx", {}), model)
        yield _with_nearest(replace(problem, location=_in_yaml(problem.location, given)), given)


def _in_yaml(location: Location, given: Plain) -> Location:
    """Without the tags that pydantic puts between a list's index and a key."""
    kept: list[str | int] = []
    for place, step in enumerate(location):
        if isinstance(given, dict) and isinstance(step, str):
            if step not in given and place + 1 < len(location):
                continue
            given = given.get(step)
        elif isinstance(given, list) and isinstance(step, int):
            given = given[step] if step < len(given) else None
        kept.append(step)
    return tuple(kept)


def _problem(
    kind: str, location: Location, message: str, context: Mapping[str, Any], model: type[BaseModel]
) -> Problem:
    if kind == "extra_forbidden":
        valid = keys_at(model, location[:-1])
        key = str(location[-1])
        homes = list(homes_of(key, model))
        hint = f"Move it under {' or '.join(homes)}." if homes else None
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
        return Problem(location, "is not valid here", _quoted(context.get("expected")))
    if kind == "union_tag_invalid":
        tag = _quoted(context.get("discriminator"))
        return Problem((*location, *tag), "is not valid here", _quoted(context.get("expected_tags")))
    if kind == "union_tag_not_found":
        return Problem(location, f"{' '.join(_quoted(context.get('discriminator')))} is missing", of_key=True)
    if kind in ("too_short", "string_too_short"):
        return Problem(location, "must not be empty")
    return Problem(location, _SHAPES.get(kind, message.removeprefix("Value error, ")))


def _quoted(text: object) -> tuple[str, ...]:
    """The words in quotes: pydantic's list of valid ones."""
    return tuple(re.findall(r"'([^']*)'", str(text)))


def _with_nearest(problem: Problem, given: Plain) -> Problem:
    """Of one of a few words the wrong one may be shown, and the nearest one named."""
    value = given
    for step in problem.location:
        if isinstance(value, dict) and isinstance(step, str):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int):
            value = value[step]
    if problem.message != "is not valid here" or not isinstance(value, str) or len(value) > MAX_NAME:
        return problem
    return replace(problem, message=f"{value!r} is not valid here", near=nearest(value, problem.valid))


def keys_at(model: type[BaseModel], location: Location) -> tuple[str, ...]:
    """The keys that a block of the YAML may have. `location` may name the tag of a block that is one of several."""
    current = [model]
    for step in location:
        if isinstance(step, int):
            continue
        found = [inner for one in current for inner in _below(one, step)]
        current = found or [one for one in current if step in tags_of(one)]
    keys = [info.alias or name for one in current for name, info in one.model_fields.items()]
    return tuple(dict.fromkeys(keys))


def _below(model: type[BaseModel], key: str) -> list[type[BaseModel]]:
    fields = model.model_fields.items()
    return [inner for name, info in fields if key in (info.alias, name) for inner in models_in(info.annotation)]


def tags_of(model: type[BaseModel]) -> frozenset[str]:
    """The words that tell a block from others that may replace it."""
    words = (
        get_args(info.annotation) for info in model.model_fields.values() if get_origin(info.annotation) is Literal
    )
    return frozenset(str(word) for literal in words if len(literal) == 1 for word in literal)


def homes_of(key: str, model: type[BaseModel], above: str = "") -> Iterator[str]:
    """The blocks of a spec that have this key, such as `trainer` for `batchSize`."""
    for name, info in model.model_fields.items():
        own = info.alias or name
        if above and own == key:
            yield above
        if inner := model_in(info.annotation):
            yield from homes_of(key, inner, f"{above}.{own}" if above else own)


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """The models inside of `Model | None`, `tuple[Model, ...]`, `A | B` and the like."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in models_in(argument)]


def model_in(annotation: Any) -> type[BaseModel] | None:
    """The first of them."""
    return next(iter(models_in(annotation)), None)
