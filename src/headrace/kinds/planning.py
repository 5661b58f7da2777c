"""What a kind's folder may ask while it says which stages a resource needs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from headrace.foundation.errors import HeadraceError, InvalidQueryError, NotFoundError
from headrace.foundation.resource_id import ResourceId
from headrace.foundation.settings import Settings
from headrace.kinds.resource import Resource
from headrace.kinds.secrets import SecretNotFoundError, SecretSources
from headrace.stages.stage_spec import StageSpec
from headrace.stages.topology import Note
from headrace.streams.stream_engine import EngineCapabilities

Provided = TypeVar("Provided")


class NotReadyError(Exception):
    """A resource cannot run yet; becomes its condition."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason, self.message = reason, message


@dataclass(frozen=True, slots=True)
class Planned:
    """What one resource comes to."""

    specs: Sequence[StageSpec] = ()
    provides: object = None
    """What other resources take from it, such as a teacher's options or the folder of a base model."""


@dataclass(slots=True)
class Planning:
    """All resources, each planned once, when it is first asked for: in no order but that of who needs whom."""

    resources: Mapping[ResourceId, Resource]
    settings: Settings
    environ: Mapping[str, str]
    engine: EngineCapabilities
    cores: int
    gpus: int
    plan: Callable[[Resource, "Planning"], Planned] = field(repr=False)
    """How a resource of any kind is planned."""
    _known: dict[ResourceId, Planned | NotReadyError | None] = field(
        default_factory=dict["ResourceId", "Planned | NotReadyError | None"]
    )
    """None: being planned right now."""

    @property
    def secrets(self) -> SecretSources:
        """Where secrets are looked up."""
        return SecretSources(self.environ, self.settings.secrets)

    def planned(self, resource: Resource) -> Planned:
        """What the resource comes to. NotReadyError says why it cannot run."""
        if resource.id not in self._known:
            self._known[resource.id] = None
            self._known[resource.id] = self._outcome(resource)
        found = self._known[resource.id]
        if found is None:
            raise NotReadyError("Circular", f"{resource.kind}/{resource.name} depends on itself through its inputs")
        if isinstance(found, NotReadyError):
            raise found
        return found

    def needed(self, of: Resource, kind: str, name: str) -> Resource:
        """What a resource names in its own namespace. NotReadyError where that is absent or not ready itself."""
        found = self.resources.get(of.id.sibling(kind, name))
        if found is None:
            raise NotReadyError(f"{kind}NotFound", f"{kind}/{name} is not applied in namespace {of.namespace}")
        try:
            self.planned(found)
        except NotReadyError as error:
            raise NotReadyError(error.reason, f"{kind}/{name} is not ready: {error.message}") from error
        return found

    def provided(self, of: Resource, kind: str, name: str, expected: type[Provided]) -> Provided:
        """The same, and what it provides."""
        given = self.planned(self.needed(of, kind, name)).provides
        if not isinstance(given, expected):
            raise NotReadyError("Invalid", f"{kind}/{name} provides nothing that {of.kind}/{of.name} can use")
        return given

    def siblings(self, of: Resource, kind: str) -> list[Resource]:
        """Every resource of a kind in the same namespace, by name."""
        return [one for key, one in sorted(self.resources.items()) if (key.kind, key.namespace) == (kind, of.namespace)]

    def _outcome(self, resource: Resource) -> Planned | NotReadyError:
        try:
            return self.plan(resource, self)
        except NotReadyError as error:
            return error
        except SecretNotFoundError as error:
            return NotReadyError("SecretNotFound", str(error))
        except InvalidQueryError as error:
            return NotReadyError("QueryInvalid", str(error))
        except NotFoundError as error:
            return NotReadyError(f"{resource.kind}NotFound", str(error))
        except HeadraceError as error:
            return NotReadyError("Invalid", str(error))


def nothing_to_run(_resource: Resource, _planning: Planning) -> Planned:
    """For kinds without stages."""
    return Planned()


def nothing_to_note(_resource: Resource, _planning: Planning) -> Sequence[Note]:
    """For kinds that run as they are declared everywhere."""
    return ()
