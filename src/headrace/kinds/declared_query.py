"""A stream query as a resource of any kind declares it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from headrace.events.schema import RowSchema
from headrace.foundation.resource_id import ResourceId
from headrace.kinds.document import Location
from headrace.kinds.problem import Problem
from headrace.kinds.resource import Resource
from headrace.stages.timeline import Timeline


def any_columns(_output: RowSchema) -> Iterable[Problem]:
    """For owners that accept any columns."""
    return ()


@dataclass(frozen=True, slots=True)
class DeclaredQuery:
    """One SELECT over declared inputs. A query has an owner: the resource that declares it."""

    owner: ResourceId
    sql: str
    place: Location
    """Its path below `spec`."""
    connector: str = ""
    """What `source_stream` means in it: a StreamConnector of the namespace."""
    finetuner: str = ""
    """Or the examples of a finetuner of the namespace."""
    timeline: Timeline = "arrival"
    check: Callable[[RowSchema], Iterable[Problem]] = any_columns
    """What its owner requires of its columns."""


def no_queries(_resource: Resource) -> Iterable[DeclaredQuery]:
    """For kinds that own none."""
    return ()
