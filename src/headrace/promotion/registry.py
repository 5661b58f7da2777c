"""A finetuner's versions and the alias of the served one: one JSON value in the log, changed by compare-and-set.

MLflow mirrors it and is never read. Transitions are pure; `save` returns what a Commit needs.
"""

import msgspec

from headrace.events.decision import Decision
from headrace.foundation.errors import CorruptDataError, InvalidDeclarationError, NotFoundError
from headrace.foundation.resource_id import ResourceId
from headrace.log.topic_log import StateKey, TopicLog

BASE = "v0"
OWNER = "registry"
_COMMANDS = ".commands"


class Version(msgspec.Struct, frozen=True):
    """A frozen model."""

    name: str
    """`vN`; v0 is the first base."""
    digest: str
    """Its directory in the version store; empty: the base model's own."""
    parent: str | None
    """The version that was served when it was cut."""
    cut_offset: int
    """The last example it had learned; -1: none."""
    created_ms: int
    weights_sha256: str
    evidence: Decision | None = None
    """The decision that it won, or awaits approval by."""
    knowledge: str = ""
    """The generation of the knowledge base that its newest example's prompt was retrieved from."""
    base: str = BASE
    """The version that is its base model; a base names itself."""


class Registry(msgspec.Struct, frozen=True):
    """All kept versions, oldest first, and the alias."""

    versions: tuple[Version, ...]
    served: str
    previous: str | None = None
    """The previously served version: where `rollback` leads."""
    next_number: int = 1
    format: int = 1
    base: str = BASE
    """The version that is the current base model."""

    @staticmethod
    def of_base(digest: str, weights_sha256: str, created_ms: int) -> "Registry":
        """A registry that serves the base."""
        return Registry((Version(BASE, digest, None, -1, created_ms, weights_sha256),), BASE)

    def next_version(self) -> str:
        """The next version's name; names are never reused."""
        return f"v{self.next_number}"

    def version(self, name: str) -> Version:
        """NotFoundError lists the existing versions."""
        for version in self.versions:
            if version.name == name:
                return version
        raise NotFoundError(
            f"there is no version {name!r}", next_step=f"use one of: {', '.join(v.name for v in self.versions)}"
        )

    def with_version(self, version: Version) -> "Registry":
        """Adds a version named `next_version()`; it is not served yet."""
        if version.name != self.next_version():
            raise ValueError(f"the next version must be {self.next_version()}, not {version.name}")
        return msgspec.structs.replace(self, versions=(*self.versions, version), next_number=self.next_number + 1)

    def with_base(self, digest: str, weights_sha256: str, created_ms: int) -> "Registry":
        """Restarts from another base model, which becomes a version and is served at once: versions of the former base
        use other tokens and cannot be compared with it. They are kept, by name.
        """
        name = self.next_version()
        added = self.with_version(Version(name, digest, None, -1, created_ms, weights_sha256, base=name))
        return msgspec.structs.replace(added, served=name, previous=None, base=name)

    def promote(self, name: str) -> "Registry":
        """Moves the alias; promoting the served version changes nothing. InvalidDeclarationError for a version of a former base."""
        if self.version(name).base != self.base:
            raise InvalidDeclarationError(
                f"{name} was trained from a base model other than {self.base}, which is in use",
                next_step="promote a version of this base, or declare the former base and reset the finetuner",
            )
        return self if name == self.served else msgspec.structs.replace(self, served=name, previous=self.served)

    def rollback(self) -> "Registry":
        """Moves the alias back to the previous version. InvalidDeclarationError if there is none."""
        if self.previous is None:
            raise InvalidDeclarationError(
                f"{self.served} has no previous version", next_step="promote a version by name"
            )
        return msgspec.structs.replace(self, served=self.previous, previous=None)

    def prune(self, keep: int) -> tuple["Registry", tuple[Version, ...]]:
        """Drops all but the newest `keep` versions, the current base, the served and the previous one; also returns what was dropped."""
        newest = {version.name for version in self.versions[-keep:]} if keep > 0 else set[str]()
        kept = newest | {self.base, self.served, self.previous}
        dropped = tuple(version for version in self.versions if version.name not in kept)
        remaining = tuple(version for version in self.versions if version.name in kept)
        return msgspec.structs.replace(self, versions=remaining), dropped


def registry_key(finetuner: ResourceId) -> StateKey:
    """The registry's key in the log: with its own owner, so that commits that compare versions do not wait for other finetuners'."""
    return StateKey(f"{OWNER}/{finetuner.path_name}", "versions")


def registered(log: TopicLog) -> list[ResourceId]:
    """The finetuner of every existing registry."""
    found = {tuple(key.split("/", 1)) for key in log.state(OWNER)}
    for info in log.topics():
        namespace, _, rest = info.spec.name.partition(".")
        if rest.endswith(_COMMANDS):
            found.add((namespace, rest.removesuffix(_COMMANDS)))
    return sorted(ResourceId("StreamFinetuner", namespace, name) for namespace, name in found)


def load(log: TopicLog, finetuner: ResourceId) -> tuple[Registry, int] | None:
    """The registry and its state version, for `save`; None before the first. CorruptDataError if it does not parse."""
    key = registry_key(finetuner)
    entry, version = log.state(key.owner, key.key).get(key.key), 0
    if entry is not None:
        version = entry.version
    else:  # where the first versions of Headrace kept it
        former = finetuner.full_name
        entry = log.state(OWNER, former).get(former)
    if entry is None:
        return None
    try:
        return msgspec.json.decode(entry.value, type=Registry), version
    except msgspec.MsgspecError as error:
        raise CorruptDataError(f"the registry of {finetuner.name} does not parse: {error}", where=key.owner) from error


def save(registry: Registry, finetuner: ResourceId, expected: int) -> tuple[StateKey, bytes, int]:
    """Key, value and the state version that must still be current (0: none yet), for `Commit.state` and `Commit.expect`."""
    return registry_key(finetuner), msgspec.json.encode(registry), expected
