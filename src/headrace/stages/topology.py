"""All stages that the applied resources need."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from headrace.foundation.resource_id import ResourceId
from headrace.stages.stage_spec import StageSpec

Options = TypeVar("Options")


@dataclass(frozen=True, slots=True)
class NotReady:
    """A resource that cannot run yet, and why: its stages are left out, its condition says so."""

    id: ResourceId
    reason: str
    """CamelCase, as in Kubernetes conditions, such as `BaseModelNotFound`."""
    message: str


@dataclass(frozen=True, slots=True)
class Note:
    """What a person should know about a resource that runs all the same, such as a setting without a meaning on this engine."""

    id: ResourceId
    reason: str
    """CamelCase, such as `GpuMissing`."""
    message: str


@dataclass(frozen=True, slots=True)
class Topology:
    """The stages, along the data; what cannot run, and why."""

    specs: tuple[StageSpec, ...] = ()
    not_ready: tuple[NotReady, ...] = ()
    notes: tuple[Note, ...] = ()

    def of_kind(self, kind: str) -> tuple[StageSpec, ...]:
        """The stages of one type."""
        return tuple(one for one in self.specs if one.kind == kind)

    def options(self, of: type[Options]) -> tuple[Options, ...]:
        """The options of that type that stages are opened with."""
        return tuple(one.options for one in self.specs if isinstance(one.options, of))

    def of_resource(self, id: ResourceId) -> tuple[StageSpec, ...]:  # noqa: A002 - the word everywhere
        """The stages of one resource."""
        return tuple(one for one in self.specs if one.id == id)

    def only(self, kinds: Iterable[str]) -> "Topology":
        """The same without every other type of stage."""
        wanted = set(kinds)
        return Topology(tuple(one for one in self.specs if one.kind in wanted), self.not_ready, self.notes)
