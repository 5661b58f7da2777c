"""Which other resources a spec names, and whether they are there."""

from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from headrace.kinds.document import Location, Plain
from headrace.kinds.fields import Refers
from headrace.kinds.kind import Draft, World
from headrace.kinds.mistake import listed, nearest
from headrace.kinds.problem import Problem
from headrace.kinds.spec_errors import model_in


def references(model: type[BaseModel], given: Plain, above: Location = ()) -> Iterator[tuple[Location, str, str]]:
    """(location, kind, name) of everything that `given` names, whether the rest of it is right or not."""
    if isinstance(given, list):
        for place, item in enumerate(given):
            yield from references(model, item, (*above, place))
    if not isinstance(given, dict):
        return
    for name, info in model.model_fields.items():
        key = info.alias or name
        value = given.get(key)
        kind = _refers(info)
        if kind and isinstance(value, str):
            yield (*above, key), kind, value
        elif (inner := model_in(info.annotation)) and value is not None:
            yield from references(inner, value, (*above, key))


def dangling(draft: Draft, model: type[BaseModel], world: World) -> Iterator[Problem]:
    """What is named and not there."""
    for location, kind, name in references(model, draft.spec):
        if world.find(draft.id.sibling(kind, name)) is not None:
            continue
        there = world.names(kind, draft.namespace)
        hint = None if there else f"Declare one in namespace {draft.namespace}."
        message = f"there is no {kind} {name!r} in namespace {draft.namespace}"
        elsewhere = [one.namespace for one in sorted(world.drafts) if (one.kind, one.name) == (kind, name)]
        if elsewhere:
            hint = f"The {kind} {name!r} is in namespace {elsewhere[0]}, and namespaces do not see each other."
        yield Problem(location, message, listed(there), nearest(name, there), hint)


def _refers(info: FieldInfo) -> str | None:
    marks = [*info.metadata, *_metadata_in(info.annotation)]
    return next((mark.kind for mark in marks if isinstance(mark, Refers)), None)


def _metadata_in(annotation: Any) -> Iterator[Any]:
    yield from getattr(annotation, "__metadata__", ())
    for argument in get_args(annotation):
        yield from _metadata_in(argument)
