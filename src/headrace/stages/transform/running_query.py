"""Describes the running query, and decides what happens to it when another one is declared.

The same query resumes with its state, also after its source gained columns: it keeps the columns that it started with. A query
without state (`stateless`) continues where another stateless query stopped. Every other query restarts: at the start of its inputs,
or at the declared time.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import msgspec

from headrace.events import codec
from headrace.events.schema import Column, RowSchema
from headrace.log.topic_log import StateKey, TopicLog
from headrace.stages.transform.options import TransformOptions
from headrace.streams.dialect import normalised
from headrace.streams.stream_engine import QueryPlan, QuerySpec

_SCAN = 10_000
Carry = Literal["start", "resume", "continue", "restart"]
"""start: nothing ran before. resume: with its own state. continue: where another query stopped. restart: at its start, without state."""


CARRIED: Mapping[Carry, tuple[str, ...]] = {
    "continue": ("the query changed and continues where the previous one stopped",),
    "restart": ("the query changed and restarted at the start of its inputs",),
}
"""Notes for the condition."""


class RunningQuery(msgspec.Struct, frozen=True):
    """A query as it started."""

    digest: str
    sql: str
    """As declared."""
    timeline: str
    shape: str
    schemas: dict[str, list[tuple[str, str]]]
    """Of its inputs, by their names in the query: name and type of each column."""

    @staticmethod
    def of(spec: QuerySpec, plan: QueryPlan) -> "RunningQuery":
        schemas = {one.name: [(column.name, column.type) for column in one.schema.columns] for one in spec.inputs}
        return RunningQuery(plan.digest, spec.sql, spec.timeline, plan.shape, schemas)

    def spec_among(self, spec: QuerySpec) -> QuerySpec | None:
        """The same query over the inputs of another; None where an input of its own is not among them with all its columns."""
        known = {one.name: one for one in spec.inputs}
        if any(
            name not in known or not {*columns} <= {(one.name, one.type) for one in known[name].schema.columns}
            for name, columns in self.schemas.items()
        ):
            return None
        inputs = [
            replace(known[name], schema=RowSchema(tuple(Column(*one) for one in columns)))
            for name, columns in self.schemas.items()
        ]
        timeline: Literal["arrival", "event"] = "event" if self.timeline == "event" else "arrival"
        return replace(spec, sql=self.sql, inputs=inputs, timeline=timeline)


@dataclass(frozen=True, slots=True)
class Settled:
    """The query to run, and how it starts."""

    spec: QuerySpec
    plan: QueryPlan
    carry: Carry


def settle(running: RunningQuery | None, spec: QuerySpec, plan_of: Callable[[QuerySpec], QueryPlan]) -> Settled:
    """Decides how `spec` takes over from the running query. Raises what `plan_of` raises."""
    plan = plan_of(spec)
    if running is None:
        return Settled(spec, plan, "start")
    if running.digest == plan.digest:
        return Settled(spec, plan, "resume")
    if plan.shape == "stateless" and running.shape == "stateless":
        return Settled(spec, plan, "continue")
    if normalised(running.sql) == normalised(spec.sql) and running.timeline == spec.timeline:
        before = running.spec_among(spec)
        if before is not None and (older := plan_of(before)).digest == running.digest:
            return Settled(before, older, "resume")
    return Settled(spec, plan, "restart")


def state_key(stage: str) -> StateKey:
    """The key under which a transform stage stores its running query."""
    return StateKey(stage, "plan")


def read_running(log: TopicLog, stage: str) -> RunningQuery | None:
    """The query that a transform stage runs, or ran last."""
    saved = log.state(stage)
    if "plan" in saved:
        return msgspec.json.decode(saved["plan"].value, type=RunningQuery)
    if "digest" in saved:  # written before queries could be changed
        return RunningQuery(saved["digest"].value.decode(), "", "", "", {})
    return None


def start_offset(log: TopicLog, topic: str, options: TransformOptions) -> int:
    """Where a query without a state begins in a topic: its start, or the first record whose event time is not before the time declared."""
    offset = log.topic(topic).start_offset
    if options.start_ms is None:
        return offset
    while records := log.read(topic, offset, max_records=_SCAN):
        for record in records:
            if record.event_time >= options.start_ms and codec.is_data(record):
                return record.offset
        offset = records[-1].offset + 1
    return offset
