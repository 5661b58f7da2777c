"""What applying declarations would change, and what each change costs."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from pydantic import BaseModel

from headrace.foundation.resource_id import ResourceId
from headrace.kinds.document import Location, path_text
from headrace.kinds.kind import COSTS, Cost, Draft
from headrace.kinds.references import references
from headrace.kinds.registry import KINDS
from headrace.kinds.resource import HIDDEN, Resource

Action = Literal["create", "update", "delete", "unchanged"]
_RANK: dict[Cost, int] = {cost: rank for rank, cost in enumerate(COSTS)}
_LONGEST = 60


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field; values as they are written, secrets masked."""

    path: str
    """Such as `promptTemplate[0].userQuestion`."""
    old: str
    new: str
    cost: Cost

    def __str__(self) -> str:
        return f"{self.path}: {self.old} → {self.new} ({self.cost})"


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of one resource."""

    id: ResourceId
    action: Action
    fields: tuple[FieldChange, ...] = ()
    cost: Cost = "none"
    """The dearest of its fields'."""
    affects: tuple[str, ...] = ()
    """`Kind/name` of resources that name this one, and feel its cost."""
    sentence: str = ""


def plan(applied: Sequence[Resource], new: Sequence[Resource], *, prune: bool = False) -> list[Change]:
    """One change per new resource, in their order. `prune`: what is applied and not in `new` is deleted."""
    known = {resource.id: resource for resource in applied}
    wanted = {resource.id: resource for resource in new}
    changes = [_change(known.get(key), resource, {**known, **wanted}) for key, resource in wanted.items()]
    gone = [resource for key, resource in known.items() if key not in wanted] if prune else []
    return [*changes, *(_deleted(resource, wanted) for resource in gone)]


def _change(old: Resource | None, new: Resource, world: Mapping[ResourceId, Resource]) -> Change:
    title = f"{new.kind}/{new.name} in {new.namespace}"
    if old is None:
        return Change(new.id, "create", sentence=f"{title} is created")
    fields = tuple(_fields(old, new))
    if not fields:
        return Change(new.id, "unchanged", sentence=f"{title} stays as it is")
    cost: Cost = max((field.cost for field in fields), key=_RANK.__getitem__)
    affects = _affected(new, world) if _RANK[cost] > _RANK["restart"] else ()
    sentence = f"{title} changes in {_counted(len(fields), 'field')}; {cost}: {COSTS[cost]}"
    if affects:
        sentence += f"; {', '.join(affects)} with it"
    return Change(new.id, "update", fields, cost, affects, sentence)


def _deleted(old: Resource, remaining: Mapping[ResourceId, Resource]) -> Change:
    affects = _affected(old, remaining)
    sentence = f"{old.kind}/{old.name} in {old.namespace} is deleted"
    if affects:
        sentence += f"; {', '.join(affects)} cannot run without it"
    return Change(old.id, "delete", affects=affects, sentence=sentence)


def _fields(old: Resource, new: Resource) -> Iterator[FieldChange]:
    """Compares what the specs mean: `16` and `'16'`, and a default written out, are no change."""
    before, after = (dict(_leaves(one.spec)) for one in (old, new))
    shown = (old.shown()["spec"], new.shown()["spec"])
    kind = KINDS[new.kind]
    variant = kind.choose(Draft(new.id, dict(new.raw)))
    for location in dict.fromkeys([*before, *after]):
        if before.get(location, _ABSENT) != after.get(location, _ABSENT):
            path = path_text(location)
            values = [
                _text(_at(one, location), leaves.get(location))
                for one, leaves in zip(shown, (before, after), strict=True)
            ]
            yield FieldChange(path, values[0], values[1], kind.cost(_keys(location), variant))
    for key in ("labels", "annotations"):
        values = [json.dumps(dict(getattr(one, key)), ensure_ascii=False, sort_keys=True) for one in (old, new)]
        if values[0] != values[1]:
            yield FieldChange(f"metadata.{key}", values[0], values[1], "none")


_ABSENT = object()


def _leaves(value: Any, above: Location = ()) -> Iterator[tuple[Location, Any]]:
    """What a spec means, by the keys of the YAML. Not pydantic's dump, in which one secret looks like another."""
    if isinstance(value, BaseModel):
        for name, info in type(value).model_fields.items():
            yield from _leaves(getattr(value, name), (*above, info.alias or name))
    elif isinstance(value, Mapping) and value:
        for key, inner in cast("Mapping[str, Any]", value).items():
            yield from _leaves(inner, (*above, key))
    elif isinstance(value, (list, tuple)) and any(isinstance(item, (Mapping, BaseModel)) for item in value):
        for place, inner in enumerate(cast("Sequence[Any]", value)):
            yield from _leaves(inner, (*above, place))
    else:
        yield above, value


def _at(value: Any, location: Location) -> Any:
    for step in location:
        if isinstance(value, Mapping) and step in value:
            value = cast("Mapping[Any, Any]", value)[step]
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = cast("list[Any]", value)[step]
        else:
            return _ABSENT
    return value


def _text(written: Any, meant: Any) -> str:
    if written is _ABSENT:
        return "(left out)" if meant is None or not isinstance(meant, (str, int, float)) else f"{meant} (default)"
    text = written if isinstance(written, str) else json.dumps(written, ensure_ascii=False, default=lambda _: HIDDEN)
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _keys(location: Location) -> str:
    return ".".join(step for step in location if isinstance(step, str))


def _affected(resource: Resource, world: Mapping[ResourceId, Resource]) -> tuple[str, ...]:
    """Who names it, and who names those, sorted."""
    found: set[ResourceId] = set()
    waiting = [resource.id]
    while waiting:
        target = waiting.pop()
        for other in world.values():
            if other.id not in found and other.id != resource.id and target in _named_by(other):
                found.add(other.id)
                waiting.append(other.id)
    return tuple(f"{one.kind}/{one.name}" for one in sorted(found))


def _named_by(resource: Resource) -> set[ResourceId]:
    draft = Draft(resource.id, dict(resource.raw))
    model = KINDS[resource.kind].model(draft)
    return {resource.id.sibling(kind, name) for _, kind, name in references(model, draft.spec)}


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
