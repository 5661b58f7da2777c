"""The resources that have been applied, in the log: what `up` runs and `get` shows.

Literal secrets are stored as written. The log of one machine is a file that only its owner can read; a log shared between
machines never gets one.
"""

from collections.abc import Mapping, Sequence

import msgspec

from headrace.foundation.errors import InvalidDeclarationError, NotFoundError
from headrace.foundation.resource_id import ResourceId
from headrace.kinds.catalog import Resource, resource_from_json, resource_to_json
from headrace.kinds.document import path_text
from headrace.kinds.secret_fields import secrets_in
from headrace.log.topic_log import Commit, StateEntry, StateKey, TopicLog

OWNER = "resources"


class Stored(msgspec.Struct, frozen=True):
    """A resource with what the store adds."""

    resource: msgspec.Raw
    generation: int
    """Grows with every change of the spec."""
    created_ms: int


def key_of(resource: ResourceId) -> StateKey:
    return StateKey(OWNER, str(resource))


class ResourceStore:
    """Reads and writes applied resources; a write is one commit over all of them."""

    def __init__(self, log: TopicLog) -> None:
        self._log = log

    def all(self) -> list[Resource]:
        """Every applied resource, by kind, namespace and name."""
        entries = self._log.state(OWNER)
        return [resource_from_json(self._decode(entries[key]).resource) for key in sorted(entries)]

    def versions(self) -> dict[str, int]:
        """How often each entry was written: equal maps mean that nothing was applied or deleted in between."""
        return {key: entry.version for key, entry in self._log.state(OWNER).items()}

    def generation(self, resource: ResourceId) -> int:
        """NotFoundError if it was never applied."""
        entry = self._log.state(OWNER).get(key_of(resource).key)
        if entry is None:
            raise NotFoundError(f"{resource.kind}/{resource.name} is not applied in namespace {resource.namespace}")
        return self._decode(entry).generation

    def apply(
        self, resources: Sequence[Resource], now_ms: int, also: Mapping[StateKey, bytes | None] | None = None
    ) -> None:
        """Adds and changes; equal resources keep their generation. `also`: state that goes into the same commit.

        InvalidDeclarationError: a literal secret, if other machines can read the log.
        """
        if self._log.capabilities.shared_between_machines:
            for resource in resources:
                _refuse_literals(resource)
        entries = self._log.state(OWNER)
        state: dict[StateKey, bytes | None] = dict(also or {})
        expect: dict[StateKey, int] = {}
        for resource in resources:
            key = key_of(resource.id)
            known = entries.get(key.key)
            encoded = msgspec.Raw(resource_to_json(resource))
            old = self._decode(known) if known else None
            if old and bytes(old.resource) == bytes(encoded):
                continue
            stored = Stored(encoded, old.generation + 1 if old else 1, old.created_ms if old else now_ms)
            state[key] = msgspec.json.encode(stored)
            expect[key] = known.version if known else 0
        if state:
            self._log.commit(Commit(state=state, expect=expect))

    def delete(self, resource: ResourceId) -> None:
        """NotFoundError if it does not exist."""
        self.generation(resource)
        self._log.commit(Commit(state={key_of(resource): None}))

    @staticmethod
    def _decode(entry: StateEntry) -> Stored:
        return msgspec.json.decode(entry.value, type=Stored)


def _refuse_literals(resource: Resource) -> None:
    for location, secret in secrets_in(resource.spec):
        if secret.literal:
            raise InvalidDeclarationError(
                f"{path_text(location)} is a literal secret, and everyone who may read the shared log could read it",
                where=f"{resource.kind}/{resource.name}",
                next_step="use ${ENV}, {file: PATH} or {secretRef: {name: NAME, key: KEY}} instead",
            )
