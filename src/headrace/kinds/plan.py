"""What applying declarations would change, and what each change does to what already runs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from headrace.foundation.resource_id import ResourceId
from headrace.kinds.field_changes import FieldChange, field_changes
from headrace.kinds.kind import Draft
from headrace.kinds.references import references
from headrace.kinds.registry import KINDS
from headrace.kinds.resource import Resource
from headrace.kinds.verdict import FIRST_STAGE, NEW_QUERY, NO_EFFECT, ResetFrom, Verdict, rank

Action = Literal["create", "update", "delete", "unchanged"]
_FELT = rank(NEW_QUERY)
"""From this verdict on, a change affects the resources that refer to the changed one."""
_RESET_KIND: Mapping[ResetFrom, str] = {
    "source": "StreamConnector", "sink": "StreamConnector", "rows": "StreamFinetuner", "labels": "StreamFinetuner",
    "model": "StreamFinetuner", "knowledge": "KnowledgeBase",
}  # fmt: skip
"""Kind of the resource whose stage a reset starts with."""


@dataclass(frozen=True, slots=True, order=True)
class NeededReset:
    """Without it a change cannot act."""

    id: ResourceId
    """What is reset; for a BaseModel, a finetuner that tunes it."""
    start: ResetFrom

    @property
    def stage(self) -> str:
        """The first stage that is reset: where it never ran, nothing is to be reset."""
        return f"{FIRST_STAGE[self.start]}/{self.id.path_name}"

    @property
    def command(self) -> str:
        """What a person types."""
        return f"headrace reset {self.id.kind}/{self.id.name} --from {self.start} -n {self.id.namespace}"


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of one resource."""

    id: ResourceId
    action: Action
    fields: tuple[FieldChange, ...] = ()
    affects: tuple[str, ...] = ()
    """`Kind/name` of resources that refer to this one and are affected."""
    sentence: str = ""
    resets: tuple[NeededReset, ...] = ()
    """Resets needed before all of it can act."""

    @property
    def verdict(self) -> Verdict:
        """The dearest of its fields'."""
        return max((field.verdict for field in self.fields), key=rank, default=NO_EFFECT)


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
    fields = tuple(field_changes(old, new))
    if not fields:
        return Change(new.id, "unchanged", sentence=f"{title} is unchanged")
    verdict = max((field.verdict for field in fields), key=rank)
    affects = _affected(new, world) if rank(verdict) >= _FELT else ()
    sentence = f"{title} changes in {_counted(len(fields), 'field')}; {verdict}: {verdict.sentence}"
    if affects:
        sentence += f" Affects {', '.join(affects)}."
    return Change(new.id, "update", fields, affects, sentence, tuple(_resets(new.id, fields, world)))


def _resets(
    changed: ResourceId, fields: Sequence[FieldChange], world: Mapping[ResourceId, Resource]
) -> Iterator[NeededReset]:
    """Of the resource itself, or of those that name it where it runs no such stage: a base model is trained by its finetuners."""
    starts: list[ResetFrom] = [field.verdict.reset for field in fields if field.verdict.reset is not None]
    for start in dict.fromkeys(starts):
        kind = _RESET_KIND[start]
        targets = [one.id for one in world.values() if one.kind == kind and changed in _named_by(one)]
        yield from sorted(NeededReset(one, start) for one in ([changed] if changed.kind == kind else targets))


def _deleted(old: Resource, remaining: Mapping[ResourceId, Resource]) -> Change:
    affects = _affected(old, remaining)
    sentence = f"{old.kind}/{old.name} in {old.namespace} is deleted"
    if affects:
        sentence += f"; {', '.join(affects)} cannot run without it"
    return Change(old.id, "delete", affects=affects, sentence=sentence)


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
