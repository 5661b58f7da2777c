"""Applies declarations: a resource with a change that needs a reset stays as it is until a person asks for the reset."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from headrace.control.requests import Request, entry
from headrace.control.resource_store import ResourceStore
from headrace.foundation.clock import Clock
from headrace.foundation.errors import InvalidDeclarationError
from headrace.foundation.resource_id import ResourceId
from headrace.foundation.settings import Settings
from headrace.kinds.plan import Change, NeededReset, plan
from headrace.kinds.resource import Resource
from headrace.kinds.topology import topology
from headrace.log.topic_log import TopicLog
from headrace.promotion import registry
from headrace.stages.topology import Topology
from headrace.stages.train.model import Model
from headrace.stages.train.options import TrainOptions
from headrace.stages.train.train_state import read_train_state
from headrace.stages.train.version_store import versions


class ResetNeededError(InvalidDeclarationError):
    """A declared change needs a reset that was not requested."""


@dataclass(frozen=True, slots=True)
class Declared:
    """What files change."""

    changes: tuple[Change, ...]
    """Each with the resets that are due. A resource that never ran has nothing to reset."""

    @property
    def waiting(self) -> tuple[Change, ...]:
        """Those that need a reset."""
        return tuple(one for one in self.changes if one.resets)

    @property
    def resets(self) -> tuple[NeededReset, ...]:
        """Each once."""
        return tuple(dict.fromkeys(reset for one in self.changes for reset in one.resets))


def declared_changes(
    applied: Sequence[Resource], declared: Sequence[Resource], log: TopicLog | None, settings: Settings
) -> Declared:
    """What applying `declared` would change. `log`: None if nothing ran yet."""
    together = topology(list({one.id: one for one in (*applied, *declared)}.values()), settings)
    return Declared(tuple(_due(one, together, log, settings.state) for one in plan(applied, declared)))


def apply_declared(
    found: Declared, declared: Sequence[Resource], store: ResourceStore, clock: Clock, *, reset: bool
) -> None:
    """Applies the changes that need no reset; with `reset` the others too, and submits the resets in the same commit."""
    waiting = set[ResourceId]() if reset else {one.id for one in found.waiting}
    asked = dict(entry(Request("reset", str(one.id), one.start), clock) for one in found.resets) if reset else {}
    store.apply([one for one in declared if one.id not in waiting], clock.now_ms(), asked)


def reset_needed(found: Declared) -> ResetNeededError:
    """Lists, for each resource that was not applied, which field waits, for what, and what to do."""
    lines = [
        f"{one.id.kind}/{one.id.name} in {one.id.namespace} was not applied:\n"
        + "\n".join(f"  {field}: {field.verdict.sentence}" for field in one.fields if field.verdict.reset)
        for one in found.waiting
    ]
    commands = ", ".join(f"`{one.command}`" for one in found.resets)
    return ResetNeededError(
        "\n".join(lines),
        next_step=f"Run it again with --reset, which applies the change and performs {commands}, or restore the fields.",
    )


def _due(change: Change, together: Topology, log: TopicLog | None, state: Path) -> Change:
    """Without the resets that have nothing to do."""
    kept = tuple(one for one in change.resets if log is not None and _has_effect(one, together, log, state))
    return Change(change.id, change.action, change.fields, change.affects, change.sentence, kept)


def _has_effect(reset: NeededReset, together: Topology, log: TopicLog, state: Path) -> bool:
    """Whether its stage ever ran and is still declared. A model is compared with what is declared, as the trainer does: a base model folder that
    moved is the same.
    """
    unknown = {one.id for one in together.not_ready}
    declared = reset.id in unknown or any(one.name == reset.stage for one in together.specs)
    if not declared or not log.state(reset.stage):
        return False
    options = next((one for one in together.options(TrainOptions) if reset.stage == f"train/{one.id.path_name}"), None)
    if reset.start != "model" or options is None:
        return True
    kept, known = (
        read_train_state(log, options.id),
        registry.load(log, options.id),
    )
    if kept is None or kept.model is None or known is None:
        return True
    model = Model.of(options, known[0], versions(state, options.id), kept.model)
    return bool(kept.model.pending(model.declared))
