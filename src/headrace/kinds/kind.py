"""What every kind's folder hands in: its models, its checks, what a change of each field does."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from headrace.foundation.errors import InvalidDeclarationError
from headrace.foundation.resource_id import ResourceId
from headrace.kinds.declared_query import DeclaredQuery, no_queries
from headrace.kinds.document import Plain
from headrace.kinds.planning import Planned, Planning, nothing_to_note, nothing_to_run
from headrace.kinds.problem import Problem
from headrace.kinds.resource import Resource
from headrace.kinds.spec_model import SpecModel
from headrace.kinds.verdict import Verdict
from headrace.stages.topology import Note

LLM = "llm.nstream.ai/v1"
STREAMS = "streams.nstream.ai/v1"


@dataclass(frozen=True, slots=True)
class Draft:
    """A document whose envelope could be read; its spec may still be wrong anywhere."""

    id: ResourceId
    spec: Plain

    @property
    def namespace(self) -> str:
        return self.id.namespace

    @property
    def name(self) -> str:
        return self.id.name

    def given(self, *path: str | int) -> Plain:
        """What stands at a path of the spec; None where nothing does, or something of another shape."""
        value = self.spec
        for step in path:
            if isinstance(value, dict) and isinstance(step, str):
                value = value.get(step)
            elif isinstance(value, list) and isinstance(step, int) and step < len(value):
                value = value[step]
            else:
                return None
        return value

    def text(self, *path: str | int) -> str | None:
        """The same where it is text."""
        value = self.given(*path)
        return value if isinstance(value, str) else None

    def items(self, *path: str | int) -> list[Plain]:
        """The same where it is a list, else nothing."""
        value = self.given(*path)
        return value if isinstance(value, list) else []


@dataclass(frozen=True, slots=True)
class World:
    """Every draft that can be named, of the files and of what was applied before."""

    drafts: Mapping[ResourceId, Draft] = field(default_factory=dict[ResourceId, Draft])

    def find(self, id: ResourceId) -> Draft | None:  # noqa: A002 - the word everywhere
        return self.drafts.get(id)

    def names(self, kind: str, namespace: str) -> tuple[str, ...]:
        """The names of a kind in a namespace, sorted."""
        return tuple(sorted(one.name for one in self.drafts if (one.kind, one.namespace) == (kind, namespace)))


def no_checks(_draft: Draft, _world: World) -> Iterator[Problem]:
    """For kinds whose models say everything."""
    yield from ()


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of resource."""

    name: str
    plural: str
    api_versions: tuple[str, ...]
    variant: Callable[[str], type[SpecModel]]
    """The model of a variant of the spec; most kinds have one."""
    verdicts: Callable[[str], Mapping[str, Verdict]]
    """Of a variant: what a change does, by path below `spec` without list indices. A mapping's path stands for all its keys."""
    variants: Callable[[], tuple[str, ...]] = lambda: ("",)
    """The names of the variants that are installed."""
    choose: Callable[[Draft], str] = lambda _: ""
    """Which variant a draft is of."""
    check: Callable[[Draft, World], Iterable[Problem]] = no_checks
    own_block: str = ""
    """The field of the variants' models that holds what only this variant has; '' where there is one variant."""
    plan: Callable[[Resource, Planning], Planned] = nothing_to_run
    """Which stages a resource needs, and what it provides to others."""
    notes: Callable[[Resource, Planning], Iterable[Note]] = nothing_to_note
    """What a person should know of one that runs."""
    queries: Callable[[Resource], Iterable[DeclaredQuery]] = no_queries
    """The stream queries that a resource owns."""
    free_text: frozenset[str] = frozenset()
    """Keys whose values people choose freely, so that capitals in them are no sign of a placeholder."""

    def model(self, draft: Draft) -> type[SpecModel]:
        """The model that reads a draft's spec."""
        return self.variant(self.choose(draft))

    def verdict(self, path: str, variant: str) -> Verdict:
        """What changing `trainer.batchSize` or the like does; list indices are left out of paths."""
        known, place = self.verdicts(variant), path
        while place:
            if place in known:
                return known[place]
            place = place.rpartition(".")[0]
        raise InvalidDeclarationError(
            f"{self.name} has no verdict for a change of {path}",
            next_step=f"Add {path} to the verdicts of the kind {self.name}.",
        )
