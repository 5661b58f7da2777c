"""The versions of a finetuner and the alias of the one that is served: one JSON value in the log, changed by compare-and-set.

MLflow mirrors it and is never read. Transitions are pure; `save` gives what a Commit needs, `promote_now` and `rollback_now`
are a person's own commits.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import msgspec

from headrace.events import codec, topics
from headrace.events.decision import Command, Decision
from headrace.foundation.clock import SYSTEM_CLOCK, Clock
from headrace.foundation.errors import ConflictError, CorruptDataError, InvalidDeclarationError, NotFoundError
from headrace.foundation.ids import derive_id
from headrace.log.record import NewRecord
from headrace.log.topic_log import Append, Commit, StateKey, TopicLog, TopicSpec

BASE = "v0"
OWNER = "registry"
_COMMANDS = ".commands"
ATTEMPTS = 5
"""How often a person's command is tried anew when the trainer moved the alias at the same moment."""


class Version(msgspec.Struct, frozen=True):
    """A frozen model."""

    name: str
    """`vN`; v0 is the base."""
    digest: str
    """Its directory in the store of checkpoints; empty: the base model's own."""
    parent: str | None
    """The version that was served when it was cut."""
    cut_offset: int
    """The last example it had learned; -1: none."""
    created_ms: int
    weights_sha256: str
    evidence: Decision | None = None
    """The decision that it won or waits by."""
    knowledge: str = ""
    """The generation of the knowledge base that its newest example's prompt was retrieved from."""


class Registry(msgspec.Struct, frozen=True):
    """All versions that are kept, oldest first, and the alias."""

    versions: tuple[Version, ...]
    served: str
    previous: str | None = None
    """What was served before: where `rollback` leads."""
    next_number: int = 1
    format: int = 1

    @staticmethod
    def of_base(digest: str, weights_sha256: str, created_ms: int) -> "Registry":
        """A registry in which the base is served."""
        return Registry((Version(BASE, digest, None, -1, created_ms, weights_sha256),), BASE)

    def next_version(self) -> str:
        """The name that the next version will get; names are never used twice."""
        return f"v{self.next_number}"

    def version(self, name: str) -> Version:
        """NotFoundError names the versions there are."""
        for version in self.versions:
            if version.name == name:
                return version
        raise NotFoundError(
            f"there is no version {name!r}", next_step=f"use one of: {', '.join(v.name for v in self.versions)}"
        )

    def with_version(self, version: Version) -> "Registry":
        """Adds a version, which must bear `next_version()`'s name; it is not served yet."""
        if version.name != self.next_version():
            raise ValueError(f"the next version is {self.next_version()}, not {version.name}")
        return msgspec.structs.replace(self, versions=(*self.versions, version), next_number=self.next_number + 1)

    def promote(self, name: str) -> "Registry":
        """Moves the alias; promoting what is served changes nothing."""
        self.version(name)
        return self if name == self.served else msgspec.structs.replace(self, served=name, previous=self.served)

    def rollback(self) -> "Registry":
        """Moves the alias back to the previous version. InvalidDeclarationError where there is none."""
        if self.previous is None:
            raise InvalidDeclarationError(
                f"{self.served} has no previous version", next_step="promote a version by its name"
            )
        return msgspec.structs.replace(self, served=self.previous, previous=None)

    def prune(self, keep: int) -> tuple["Registry", tuple[Version, ...]]:
        """Drops all but the newest `keep` versions, the base, the served and the previous one; returns what was dropped too."""
        newest = {version.name for version in self.versions[-keep:]} if keep > 0 else set[str]()
        kept = newest | {BASE, self.served, self.previous}
        dropped = tuple(version for version in self.versions if version.name not in kept)
        remaining = tuple(version for version in self.versions if version.name in kept)
        return msgspec.structs.replace(self, versions=remaining), dropped


def registry_key(namespace: str, finetuner: str) -> StateKey:
    """Where the registry lies in the log: under an owner of its own, so that those who compare versions do not wait for other finetuners'."""
    return StateKey(f"{OWNER}/{namespace}.{finetuner}", "versions")


def registered(log: TopicLog) -> list[tuple[str, str]]:
    """(namespace, finetuner) of every registry there is."""
    found = {tuple(key.split("/", 1)) for key in log.state(OWNER)}
    for info in log.topics():
        namespace, _, rest = info.spec.name.partition(".")
        if rest.endswith(_COMMANDS):
            found.add((namespace, rest.removesuffix(_COMMANDS)))
    return sorted((namespace, name) for namespace, name in found)


def load(log: TopicLog, namespace: str, finetuner: str) -> tuple[Registry, int] | None:
    """The registry and the version of its state, for `save`; None before the first. CorruptDataError where it does not parse."""
    key = registry_key(namespace, finetuner)
    entry, version = log.state(key.owner, key.key).get(key.key), 0
    if entry is not None:
        version = entry.version
    else:  # where it lay in the first versions
        former = f"{namespace}/{finetuner}"
        entry = log.state(OWNER, former).get(former)
    if entry is None:
        return None
    try:
        return msgspec.json.decode(entry.value, type=Registry), version
    except msgspec.MsgspecError as error:
        raise CorruptDataError(f"the registry of {finetuner} does not parse: {error}", where=key.owner) from error


def save(registry: Registry, namespace: str, finetuner: str, expected: int) -> tuple[StateKey, bytes, int]:
    """Key, value and the state version that must still stand (0: none yet), for `Commit.state` and `Commit.expect`."""
    return registry_key(namespace, finetuner), msgspec.json.encode(registry), expected


def promote_now(
    log: TopicLog, namespace: str, finetuner: str, version: str | None, reason: str, *, clock: Clock = SYSTEM_CLOCK
) -> Registry:
    """A person's promotion: moves the alias at once and records the command for the trainer. None: the newest version."""

    def move(registry: Registry) -> Registry:
        return registry.promote(version or registry.versions[-1].name)

    return _command(_Place(log, namespace, finetuner, clock), move, "promote", reason)


def rollback_now(
    log: TopicLog,
    namespace: str,
    finetuner: str,
    reason: str,
    *,
    version: str | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> Registry:
    """A person's roll-back to the previous version, or to a named one."""

    def move(registry: Registry) -> Registry:
        return registry.promote(version) if version else registry.rollback()

    return _command(_Place(log, namespace, finetuner, clock), move, "rollback", reason)


@dataclass(frozen=True, slots=True)
class _Place:
    log: TopicLog
    namespace: str
    finetuner: str
    clock: Clock


def _command(
    place: _Place, move: Callable[[Registry], Registry], action: Literal["promote", "rollback"], reason: str
) -> Registry:
    """Commits the move, made anew from the registry as it then stands where the trainer was first."""
    place.log.ensure_topic(TopicSpec(topics.commands(place.namespace, place.finetuner)))
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
    namespace, finetuner = place.namespace, place.finetuner
    found = load(place.log, namespace, finetuner)
    if found is None:
        raise NotFoundError(f"{namespace}/{finetuner} has no versions yet", next_step="start its train role first")
    moved = move(found[0])
    key, value, expected = save(moved, namespace, finetuner, found[1])
    command = Command(action, moved.served, reason)
    record = NewRecord(
        id=derive_id(namespace, finetuner, action, moved.served, expected), kind=codec.kind_of(command),
        value=codec.encode(command), event_time=place.clock.now_ms(), key=finetuner,
    )  # fmt: skip
    appends = [Append(topics.commands(namespace, finetuner), [record])]
    place.log.commit(Commit(appends=appends, state={key: value}, expect={key: expected}))
    return moved
