"""What the entry point names."""

from typing import Annotated, cast

from headrace.kinds.fields import Count, Name, Refers
from headrace.kinds.kind import Kind
from headrace.kinds.planning import Planned, Planning
from headrace.kinds.resource import Resource
from headrace.kinds.spec_model import SpecModel
from headrace.kinds.verdict import NEXT_RECORD
from headrace_counter.spec import CountOptions, count_spec


class CounterSpec(SpecModel):
    """What a Counter declares."""

    source_stream_connector: Annotated[Name, Refers("StreamConnector")]
    """Whose rows are counted."""
    step: Count = 1
    """What a row adds."""


def plan(counter: Resource, planning: Planning) -> Planned:
    """One stage."""
    spec = cast("CounterSpec", counter.spec)
    source = planning.needed(counter, "StreamConnector", spec.source_stream_connector)
    return Planned((count_spec(CountOptions(counter.id, source.id, spec.step)),))


KIND = Kind(
    "Counter",
    "counters",
    ("counting.example/v1",),
    variant=lambda _: CounterSpec,
    verdicts=lambda _: {"sourceStreamConnector": NEXT_RECORD, "step": NEXT_RECORD},
    plan=plan,
)
