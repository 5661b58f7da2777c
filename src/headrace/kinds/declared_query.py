"""A stream query as a resource declares it, whatever kind owns it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from headrace.events.schema import RowSchema
from headrace.foundation.resource_id import ResourceId
from headrace.kinds.document import Location
from headrace.kinds.problem import Problem
from headrace.kinds.resource import Resource
from headrace.stages.timeline import Timeline


def any_columns(_output: RowSchema) -> Iterable[Problem]:
    """For owners that take whatever columns a query gives."""
    return ()


@dataclass(frozen=True, slots=True)
class DeclaredQuery:
    """One SELECT over declared inputs. A query has an owner: the resource that declares it."""

    owner: ResourceId
    sql: str
    place: Location
    """Where it stands below `spec`."""
    connector: str = ""
    """What `source_stream` means in it: a StreamConnector of the namespace."""
    finetuner: str = ""
    """Or the examples of a finetuner of the namespace."""
    timeline: Timeline = "arrival"
    check: Callable[[RowSchema], Iterable[Problem]] = any_columns
    """What its owner demands of the columns that it gives."""


def no_queries(_resource: Resource) -> Iterable[DeclaredQuery]:
    """For kinds that own none."""
    return ()
