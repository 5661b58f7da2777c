"""Consumer groups hold retention back as long as their stage is declared.

A group whose stage is gone (a deleted resource, a finetuner's former data source) keeps its offset, so that applying the resource
again continues there, but no longer holds anything back. A resource that is merely not ready keeps its holds. The former hold is kept
inside the new one, and comes back before the stage starts.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from headrace.foundation.clock import Clock
from headrace.log.topic_log import Commit, GroupOffset, TopicLog
from headrace.stages.stage import Condition, StageReporter
from headrace.stages.stage_spec import StageSpec
from headrace.stages.topology import Topology

RELEASED = 1 << 60
"""Added to the hold of a group whose stage is gone, to move it beyond every possible record."""


def settle_readers(log: TopicLog, topology: Topology, holder: str, clock: Clock) -> None:
    """Releases the groups of stages that are gone and restores the holds of declared ones. No stage concerned may be running."""
    restore_readers(log, topology.specs, holder, clock)
    for one in undeclared(log, topology):
        _commit(log, one, holder, _released(one))


def release_readers(
    log: TopicLog, topology: Topology, holder: str, before: frozenset[tuple[str, str]]
) -> frozenset[tuple[str, str]]:
    """Releases groups that were undeclared at the previous look too, so their stages have ended. Returns the groups undeclared now."""
    found = {(one.group, one.topic): one for one in undeclared(log, topology)}
    running = {one.name for one in topology.specs}
    for key in found.keys() & before:
        one = found[key]
        if one.group in running:  # it no longer reads the topic and must not be fenced
            log.commit(Commit(offsets=[replace(one, hold=_released(one))]))
        else:
            _commit(log, one, holder, _released(one))
    return frozenset(found)


def _released(one: GroupOffset) -> int:
    return RELEASED + (one.next_offset if one.hold is None else one.hold)


def undeclared(log: TopicLog, topology: Topology) -> list[GroupOffset]:
    """Groups that hold retention back although no resource declares their stage."""
    living = _declared(topology.specs)
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
    """Records of a topic that a stage about to start will never see."""

    spec: StageSpec
    topic: str
    records: int

    def __str__(self) -> str:
        return f"retention has dropped {self.records:,} records of {self.topic}; {self.spec.name} starts behind them and will never read them"


def missed(log: TopicLog, specs: Iterable[StageSpec]) -> list[Missed]:
    """For stages that start or restart behind the first records of their inputs. A running stage misses nothing: retention waits for it.

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
    """Call before these stages start: their groups hold retention back again. Returns what was dropped before they read it."""
    everything = list(specs)
    declared = _declared(everything)
    for one in missed(log, everything):
        reporter = StageReporter(log, one.spec.id, f"{one.spec.kind}-input", clock)
        reporter.say(Condition("InputComplete", "False", "BehindRetention", str(one)), now=True)
    for one in log.groups():
        if (one.group, one.topic) in declared and one.hold is not None and one.hold >= RELEASED:
            _commit(log, one, holder, one.hold - RELEASED)


def _declared(specs: Iterable[StageSpec]) -> set[tuple[str, str]]:
    """Group and topic of all that the stages read."""
    return {(one.name, topic) for one in specs for topic in (*(read.topic for read in one.reads), *one.passes)}


def _commit(log: TopicLog, one: GroupOffset, holder: str, hold: int) -> None:
    """With a new lease, so that a stage that still runs is fenced."""
    lease = log.acquire_lease(one.group, holder)
    now = next((it for it in log.groups(one.topic) if (it.group, it.partition) == (one.group, one.partition)), one)
    log.commit(Commit(offsets=[GroupOffset(one.group, one.topic, now.next_offset, one.partition, hold)], lease=lease))
