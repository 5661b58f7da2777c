"""What every kind's folder hands in: its models, its checks, what a change costs."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from headrace.foundation.resource_id import ResourceId
from headrace.kinds.declared_query import DeclaredQuery, no_queries
from headrace.kinds.document import Plain
from headrace.kinds.planning import Planned, Planning, nothing_to_note, nothing_to_run
from headrace.kinds.problem import Problem
from headrace.kinds.resource import Resource
from headrace.kinds.spec_model import SpecModel
from headrace.stages.topology import Note

Cost = Literal["none", "restart", "re-run query", "re-ingest", "re-embed", "re-label", "new base"]
"""What changing a field costs, cheapest first."""
COSTS: Mapping[Cost, str] = {
    "none": "takes effect at once",
    "restart": "the roles that use it restart and go on where they were",
    "re-run query": "a query without windows or joins goes on where it is, any other runs again over the events that are kept",
    "re-ingest": "the source is read again from its beginning",
    "re-embed": "every document is embedded again",
    "re-label": "prompts are answered by the teacher again",
    "new base": "a new model is tuned from the new base; old versions stay until they are deleted",
}
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

    def find(self, kind: str, namespace: str, name: str) -> Draft | None:
        return self.drafts.get(ResourceId(kind, namespace, name))

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
    costs: Mapping[str, Cost]
    """By path below `spec`; a path stands for all below it that are not named themselves."""
    variants: Callable[[], tuple[str, ...]] = lambda: ("",)
    """The names of the variants that are installed."""
    choose: Callable[[Draft], str] = lambda _: ""
    """Which variant a draft is of."""
    check: Callable[[Draft, World], Iterable[Problem]] = no_checks
    otherwise: Callable[[str], Cost] = lambda _: "restart"
    """What changing a field of a variant costs that `costs` does not name."""
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

    def cost(self, path: str, variant: str) -> Cost:
        """What changing `trainer.batchSize` or the like costs; list indices are left out of paths."""
        while path:
            if path in self.costs:
                return self.costs[path]
            path = path.rpartition(".")[0]
        return self.otherwise(variant)
