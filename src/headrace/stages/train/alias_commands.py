"""A person's promotion or roll-back: the alias moves at once, trainer or not, and the command's record waits for the trainer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from headrace.events import codec, topics
from headrace.events.decision import Command
from headrace.foundation.clock import SYSTEM_CLOCK, Clock
from headrace.foundation.errors import ConflictError, NotFoundError
from headrace.foundation.ids import derive_id
from headrace.foundation.resource_id import ResourceId
from headrace.log.record import NewRecord
from headrace.log.topic_log import Append, Commit, TopicLog, TopicSpec
from headrace.promotion.registry import Registry, load, save

ATTEMPTS = 5
"""How often a command is tried when the trainer moves the alias at the same moment."""


def promote_now(
    log: TopicLog, finetuner: ResourceId, version: str | None, reason: str, *, clock: Clock = SYSTEM_CLOCK
) -> Registry:
    """A person's promotion: moves the alias at once and records the command for the trainer. None: the newest version."""

    def move(registry: Registry) -> Registry:
        return registry.promote(version or registry.versions[-1].name)

    return _command(_Place(log, finetuner, clock), move, "promote", reason)


def rollback_now(
    log: TopicLog,
    finetuner: ResourceId,
    reason: str,
    *,
    version: str | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> Registry:
    """A person's roll-back to the previous version, or to a named one."""

    def move(registry: Registry) -> Registry:
        return registry.promote(version) if version else registry.rollback()

    return _command(_Place(log, finetuner, clock), move, "rollback", reason)


@dataclass(frozen=True, slots=True)
class _Place:
    log: TopicLog
    finetuner: ResourceId
    clock: Clock


def _command(
    place: _Place, move: Callable[[Registry], Registry], action: Literal["promote", "rollback"], reason: str
) -> Registry:
    """Commits the move, made again from the newer registry where the trainer was first."""
    place.log.ensure_topic(TopicSpec(topics.commands(place.finetuner)))
    for _ in range(ATTEMPTS - 1):
        try:
            return _try_command(place, move, action, reason)
        except ConflictError:
            continue
    return _try_command(place, move, action, reason)


def _try_command(
    place: _Place, move: Callable[[Registry], Registry], action: Literal["promote", "rollback"], reason: str
) -> Registry:
    """One Commit: the moved alias, expecting that nobody moved it meanwhile, and the command's record."""
    finetuner = place.finetuner
    found = load(place.log, finetuner)
    if found is None:
        raise NotFoundError(f"{finetuner.full_name} has no versions yet", next_step="start its train role first")
    moved = move(found[0])
    key, value, expected = save(moved, finetuner, found[1])
    command = Command(action, moved.served, reason)
    record = NewRecord(
        id=derive_id(finetuner.namespace, finetuner.name, action, moved.served, expected), kind=codec.kind_of(command),
        value=codec.encode(command), event_time=place.clock.now_ms(), key=finetuner.name,
    )  # fmt: skip
    appends = [Append(topics.commands(finetuner), [record])]
    place.log.commit(Commit(appends=appends, state={key: value}, expect={key: expected}))
    return moved
