"""A reset: reprocesses everything from one stage of a resource onwards.

What stages keep outside of the log is emptied first. Then one commit truncates the topics that the stages write, puts their offsets
back and clears their state. Versions and the registry with its alias stay, and commands that people gave are not repeated. Every
stage gets a new lease, so that one that still runs elsewhere is fenced.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from headrace.control.requests import Request
from headrace.foundation.errors import FinalError, NotFoundError
from headrace.foundation.failpoints import failpoint
from headrace.foundation.resource_id import ResourceId
from headrace.log.topic_log import Commit, GroupOffset, StateKey, TopicInfo, TopicLog
from headrace.stages.context import StageContext
from headrace.stages.stage_spec import StageSpec, downstream
from headrace.stages.stage_type import stage_type
from headrace.stages.topology import Topology

STARTS = {"source": "ingest", "rows": "transform", "labels": "label", "model": "train", "knowledge": "index"}
"""Type of stage that a reset starts with, by the word of the command line; the type itself works too."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Which stages a reset concerns."""

    starting: tuple[StageSpec, ...]
    stages: tuple[StageSpec, ...]
    """Including downstream stages, in data order."""

    @property
    def truncated(self) -> set[str]:
        """Topics to truncate."""
        return {topic.name for one in self.stages for topic in one.writes}


def scope(topology: Topology, resource: ResourceId, start: str) -> Scope:
    """NotFoundError: the resource has no such stage. FinalError: the resource is not ready, so its stages are unknown."""
    for missing in topology.not_ready:
        if missing.id == resource:
            raise FinalError(
                f"{resource.kind}/{resource.name} is not ready, so Headrace does not know its stages: {missing.message}",
                next_step="Make it ready first.",
            )
    kind = STARTS.get(start, start)
    own = topology.of_resource(resource)
    starting = tuple(one for one in own if one.kind == kind) or _sources(topology, own, kind)
    if not starting:
        known = {kind: word for word, kind in STARTS.items()}
        words = list(dict.fromkeys(known.get(one.kind, one.kind) for one in own if one.reads or one.writes))
        raise NotFoundError(
            f"{resource.kind}/{resource.name} cannot be reset from {start!r}",
            next_step=f"Use one of: {', '.join(words) or 'none; it runs no stage'}.",
        )
    return Scope(starting, tuple(downstream(topology.specs, starting)))


def _sources(topology: Topology, own: Sequence[StageSpec], kind: str) -> tuple[StageSpec, ...]:
    """The stages of that kind that write what the resource reads: a finetuner's source is its connector."""
    if kind != STARTS["source"]:
        return ()
    read = {one.topic for spec in own for one in spec.reads}
    return tuple(one for one in topology.of_kind(kind) if read & {topic.name for topic in one.writes})


def reset(request: Request, topology: Topology, context: StageContext) -> tuple[Commit, str]:
    """Performs the steps before the commit; returns the commit and the message. Its stages must not be running."""
    found = scope(topology, request.id, request.start)
    for spec in found.stages:
        failpoint("reset.empty.before")
        stage_type(spec.kind).empty(spec, context, starts=spec in found.starting)
    failpoint("reset.empty.after")
    for spec in found.stages:
        context.log.acquire_lease(spec.name, context.holder)
    words = f"reset {request.resource} from {request.start}: {', '.join(one.name for one in found.stages)}"
    return commit_of(found, context.log), words


def commit_of(found: Scope, log: TopicLog) -> Commit:
    """Topics, offsets and state after the reset."""
    known = {info.spec.name: info for info in log.topics()}
    state: dict[StateKey, bytes | None] = {}
    for spec in found.stages:
        state |= stage_type(spec.kind).reset(spec, log)
    return Commit(
        truncate=sorted(found.truncated & known.keys()),
        offsets=[
            GroupOffset(spec.name, read.topic, beginning(spec, known[read.topic], found))
            for spec in found.stages
            for read in spec.reads
            if read.topic in known
        ],
        state=state,
    )


def beginning(spec: StageSpec, topic: TopicInfo, found: Scope) -> int:
    """Where a stage starts reading: the first record left. Commands that people gave are not repeated."""
    name = topic.spec.name
    orders = {one.name for one in spec.shares}
    return topic.end_offset if name in found.truncated or name in orders else topic.start_offset
