"""The one description of a stage: everything that control needs to know of it, whatever kind it belongs to."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from headrace.foundation.resource_id import ResourceId
from headrace.log.topic_log import TopicSpec
from headrace.stages.limits import ResourceLimits


@dataclass(frozen=True, slots=True)
class Read:
    """A topic that a stage consumes, as the consumer group of the stage's own name."""

    topic: str
    until: Literal["end", "caught up"] = "end"
    """What a run that ends when idle waits for in the topic's source: its end, or that nothing more was there for the moment."""


@dataclass(frozen=True, slots=True)
class StageSpec:
    """One stage. Supervisor, roles, consumer groups, lag, retention, reset, delete, conditions and idleness are loops over these."""

    kind: str
    """The type of stage, as in the entry point group `headrace.stages`: ingest, transform, train …"""
    id: ResourceId
    """The resource that it belongs to and reports on."""
    options: object
    """What it is opened with; secrets are in clear in it, so it is never stored or shown."""
    reads: tuple[Read, ...] = ()
    passes: tuple[str, ...] = ()
    """Topics between parts of the stage itself, which it reads under its own name: the output of a query's job, a knowledge
    base's canaries.
    """
    writes: tuple[TopicSpec, ...] = ()
    """Topics of which it is the only writer."""
    shares: tuple[TopicSpec, ...] = ()
    """Topics that stages of several resources append to, such as the answers of a namespace."""
    holds: tuple[str, ...] = ()
    """Files and folders of its own, relative to the state directory."""
    role: str = ""
    """The role whose process runs it; '': the stage's kind."""
    partition: str = ""
    """Which process of the role; '': the one that all stages of the role share."""
    limits: ResourceLimits = ResourceLimits()

    @property
    def name(self) -> str:
        """Its lease, its consumer group and the owner of its state: `label/default.desk`."""
        return f"{self.kind}/{self.id.path_name}"

    @property
    def process(self) -> str:
        """The process that runs it: `ingest`, `train/default.desk`."""
        role = self.role or self.kind
        return f"{role}/{self.partition}" if self.partition else role


def downstream(specs: Iterable[StageSpec], start: Iterable[StageSpec]) -> list[StageSpec]:
    """`start` and every stage that reads what they write, directly or through others, in the order of `specs`."""
    everything = list(specs)
    reached = {id(one) for one in start}
    written = {topic.name for one in everything if id(one) in reached for topic in one.writes}
    while found := [
        one for one in everything if id(one) not in reached and any(read.topic in written for read in one.reads)
    ]:
        reached |= {id(one) for one in found}
        written |= {topic.name for one in found for topic in one.writes}
    return [one for one in everything if id(one) in reached]


def along_the_data(specs: Iterable[StageSpec]) -> tuple[StageSpec, ...]:
    """Writers before readers; otherwise by name, so that the order is the same every time. A circle comes last."""
    waiting = sorted(specs, key=lambda one: (one.name, one.id))
    done: list[StageSpec] = []
    while waiting:
        unwritten = {topic.name for one in waiting for topic in one.writes}
        ready = [
            one
            for one in waiting
            if not any(read.topic in unwritten - {topic.name for topic in one.writes} for read in one.reads)
        ]
        if not ready:
            break
        done += ready
        waiting = [one for one in waiting if one not in ready]
    return (*done, *waiting)
