"""Consumer groups hold retention back as long as their stage is declared.

A group whose stage is gone (a deleted resource, a finetuner's former data source) keeps its offset, so that applying the resource
again continues there, but holds nothing any more. A resource that is merely not ready keeps its holds. The former hold is kept
inside the new one, and comes back before the stage starts.
"""

from collections.abc import Iterable

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


def restore_readers(log: TopicLog, specs: Iterable[StageSpec], holder: str, clock: Clock) -> None:
    """Before these stages start: their groups hold retention back as before. Says where it has passed them meanwhile."""
    declared = {(one.name, read.topic): one for one in specs for read in one.reads}
    for one in log.groups():
        spec = declared.get((one.group, one.topic))
        if spec is None or one.hold is None or one.hold < RELEASED:
            continue
        hold = one.hold - RELEASED
        missed = log.topic(one.topic).start_offset - one.next_offset
        _commit(log, one, holder, hold)
        reporter = StageReporter(log, spec.id, f"{spec.kind}-input", clock)
        if missed > 0:
            message = f"retention dropped {missed:,} records of {one.topic} while {spec.id} was not applied; they are not read"
            reporter.say(Condition("InputComplete", "False", "BehindRetention", message), now=True)


def _commit(log: TopicLog, one: GroupOffset, holder: str, hold: int) -> None:
    """With a new lease, so that a stage that still runs cannot be put back."""
    lease = log.acquire_lease(one.group, holder)
    now = next((it for it in log.groups(one.topic) if (it.group, it.partition) == (one.group, one.partition)), one)
    log.commit(Commit(offsets=[GroupOffset(one.group, one.topic, now.next_offset, one.partition, hold)], lease=lease))
