"""Which fields of a spec differ, by what they mean, and what each change does."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from pydantic import BaseModel

from headrace.kinds.document import Location, path_text
from headrace.kinds.kind import Draft
from headrace.kinds.registry import KINDS
from headrace.kinds.resource import HIDDEN, Resource
from headrace.kinds.verdict import NO_EFFECT, Verdict

_LONGEST = 60


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field; values as they are written, secrets masked."""

    path: str
    """Such as `promptTemplate[0].userQuestion`."""
    old: str
    new: str
    verdict: Verdict

    def __str__(self) -> str:
        return f"{self.path}: {self.old} → {self.new} ({self.verdict})"


def field_changes(old: Resource, new: Resource) -> Iterator[FieldChange]:
    """Compares what the specs mean: `16` and `'16'`, and a default written out, are no change."""
    before, after = (dict(_leaves(one.spec)) for one in (old, new))
    shown = (old.shown()["spec"], new.shown()["spec"])
    for location in _changed(before, after):
        values = [
            _text(_at(one, location), leaves.get(location)) for one, leaves in zip(shown, (before, after), strict=True)
        ]
        verdict = _verdict(new if location in after else old, location)
        yield FieldChange(path_text(location), values[0], values[1], verdict)
    for key in ("labels", "annotations"):
        values = [json.dumps(dict(getattr(one, key)), ensure_ascii=False, sort_keys=True) for one in (old, new)]
        if values[0] != values[1]:
            yield FieldChange(f"metadata.{key}", values[0], values[1], NO_EFFECT)


_ABSENT = object()


def _verdict(resource: Resource, location: Location) -> Verdict:
    kind = KINDS[resource.kind]
    return kind.verdict(_keys(location), kind.choose(Draft(resource.id, dict(resource.raw))))


def _both(item: Location, before: Mapping[Location, Any], after: Mapping[Location, Any]) -> bool:
    """Whether an item of a list is there before and after."""
    return all(any(one[: len(item)] == item for one in side) for side in (before, after))


def _changed(before: Mapping[Location, Any], after: Mapping[Location, Any]) -> Iterator[Location]:
    """A block that appears or disappears is shown by its fields; as a whole if it has none."""
    places = [one for one in dict.fromkeys([*before, *after]) if before.get(one, _ABSENT) != after.get(one, _ABSENT)]
    given = {one for one in places if any(side.get(one) not in (None, {}, ()) for side in (before, after))}
    for one in places:
        if any(
            isinstance(step, _Named) and one[:at] in places and not _both(one[: at + 1], before, after)
            for at, step in enumerate(one)
        ):
            continue  # the list tells that an item came or went
        below = [other for other in places if other[: len(one)] == one and other != one]
        if one in given or (below and given.isdisjoint(below)):
            yield one


def _leaves(value: Any, above: Location = ()) -> Iterator[tuple[Location, Any]]:
    """What a spec means, by the keys of the YAML. Not pydantic's dump, in which one secret looks like another."""
    if isinstance(value, BaseModel):
        for name, info in type(value).model_fields.items():
            yield from _leaves(getattr(value, name), (*above, info.alias or name))
    elif isinstance(value, Mapping) and value:
        for key, inner in cast("Mapping[str, Any]", value).items():
            yield from _leaves(inner, (*above, key))
    elif names := _names(value):
        yield above, _Names(names)
        for name, inner in zip(names, cast("Sequence[Any]", value), strict=True):
            yield from _leaves(inner, (*above, _Named(name)))
    elif isinstance(value, (list, tuple)) and any(isinstance(item, (Mapping, BaseModel)) for item in value):
        for place, inner in enumerate(cast("Sequence[Any]", value)):
            yield from _leaves(inner, (*above, place))
    else:
        yield above, value


class _Named(str):
    """A step to the item of a list that has this name: columns are told by their names, wherever they stand."""

    __slots__ = ()


class _Names(tuple[str, ...]):
    """The key that identifies items of a list."""

    __slots__ = ()


def _names(value: Any) -> tuple[str, ...]:
    """Of the items of a list, where each has one; a dictionary of such a list, as it is written, counts too."""
    if not isinstance(value, (list, tuple)):
        return ()
    items = cast("Sequence[Any]", value)
    found = [
        cast("Mapping[str, Any]", one).get("name") if isinstance(one, Mapping) else getattr(one, "name", None)
        for one in items
    ]
    names = tuple(one for one in found if isinstance(one, str))
    return names if len(names) == len(found) else ()


def _at(value: Any, location: Location) -> Any:
    for step in location:
        if isinstance(step, _Named):
            value = dict(zip(_names(value), value, strict=False))
        if isinstance(value, Mapping) and step in value:
            value = cast("Mapping[Any, Any]", value)[step]
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = cast("list[Any]", value)[step]
        else:
            return _ABSENT
    return value


def _text(written: Any, meant: Any) -> str:
    if isinstance(meant, _Names):
        written = ", ".join(meant)
    if written is _ABSENT:
        if not isinstance(meant, (str, int, float)):
            return "(left out)"
        return f"{json.dumps(meant) if isinstance(meant, bool) else meant} (default)"
    text = written if isinstance(written, str) else json.dumps(written, ensure_ascii=False, default=lambda _: HIDDEN)
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _keys(location: Location) -> str:
    return ".".join(step for step in location if isinstance(step, str) and not isinstance(step, _Named))
