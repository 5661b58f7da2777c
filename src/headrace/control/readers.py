"""Consumer groups hold retention back as long as their stage is declared.

A group whose stage is gone (a deleted resource, a finetuner's former data source) keeps its offset, so that applying the resource
again continues there, but holds nothing any more. A resource that is merely not ready keeps its holds. The former hold is kept
inside the new one, and comes back before the stage starts.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from headrace.foundation.clock import Clock
from headrace.log.topic_log import Commit, GroupOffset, TopicLog
from headrace.stages.stage import Condition, StageReporter
from headrace.stages.stage_spec import StageSpec
from headrace.stages.topology import Topology

RELEASED = 1 << 60
"""Added to the hold of a group whose stage is gone: behind every record there will ever be."""


def settle_readers(log: TopicLog, topology: Topology, holder: str, clock: Clock) -> None:
    """Releases the groups of stages that are gone, takes the holds of declared ones up again. No stage concerned runs."""
    restore_readers(log, topology.specs, holder, clock)
    for one in undeclared(log, topology):
        _release(log, one, holder)


def release_readers(
    log: TopicLog, topology: Topology, holder: str, before: frozenset[tuple[str, str]]
) -> frozenset[tuple[str, str]]:
    """Releases groups that no resource declared at the look before this one either, so that their stages have ended. Which are undeclared now."""
    found = {(one.group, one.topic): one for one in undeclared(log, topology)}
    for key in found.keys() & before:
        _release(log, found[key], holder)
    return frozenset(found)


def _release(log: TopicLog, one: GroupOffset, holder: str) -> None:
    _commit(log, one, holder, RELEASED + (one.next_offset if one.hold is None else one.hold))


def undeclared(log: TopicLog, topology: Topology) -> list[GroupOffset]:
    """Groups that hold retention back, and whose stage no resource declares."""
    living = {(one.name, read.topic) for one in topology.specs for read in one.reads}
    waiting = {one.id.path_name for one in topology.not_ready}
    return [
        one
        for one in log.groups()
        if (one.hold or 0) < RELEASED
        and (one.group, one.topic) not in living
        and one.group.partition("/")[2] not in waiting
        and "/" in one.group
    ]


@dataclass(frozen=True, slots=True)
class Missed:
    """What a stage that is about to start will never see of a topic."""

    spec: StageSpec
    topic: str
    records: int

    def __str__(self) -> str:
        return f"{self.records:,} records of {self.topic} are gone from the log; {self.spec.name} starts behind them and never reads them"


def missed(log: TopicLog, specs: Iterable[StageSpec]) -> list[Missed]:
    """Of stages that start, or start again, behind the first records of their inputs. One that runs misses nothing: retention waits.

    A compacted topic still has the newest record of every key.
    """
    starts = {info.spec.name: info.start_offset for info in log.topics() if not info.spec.compacted}
    reached = {(one.group, one.topic): one.next_offset for one in log.groups()}
    found = [
        Missed(spec, read.topic, starts.get(read.topic, 0) - reached.get((spec.name, read.topic), 0))
        for spec in specs
        for read in spec.reads
    ]
    return [one for one in found if one.records > 0]


def restore_readers(log: TopicLog, specs: Iterable[StageSpec], holder: str, clock: Clock) -> None:
    """Before these stages start: their groups hold retention back as before. Says what is gone that they have not read."""
    everything = list(specs)
    declared = {(one.name, read.topic) for one in everything for read in one.reads}
    for one in missed(log, everything):
        reporter = StageReporter(log, one.spec.id, f"{one.spec.kind}-input", clock)
        reporter.say(Condition("InputComplete", "False", "BehindRetention", str(one)), now=True)
    for one in log.groups():
        if (one.group, one.topic) in declared and one.hold is not None and one.hold >= RELEASED:
            _commit(log, one, holder, one.hold - RELEASED)


def _commit(log: TopicLog, one: GroupOffset, holder: str, hold: int) -> None:
    """With a new lease, so that a stage that still runs cannot be put back."""
    lease = log.acquire_lease(one.group, holder)
    now = next((it for it in log.groups(one.topic) if (it.group, it.partition) == (one.group, one.partition)), one)
    log.commit(Commit(offsets=[GroupOffset(one.group, one.topic, now.next_offset, one.partition, hold)], lease=lease))
