"""A purge: deletes a resource with everything its stages wrote.

Topics, versions, checkpoints, stores, jobs, teachers' answers and accounts go first, in repeatable steps; the last commit removes
the resource, its stages' state and their statuses. What several resources write to stays as long as another one of them is there.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from headrace.control import resource_store
from headrace.control.requests import Request
from headrace.foundation.errors import FinalError
from headrace.foundation.failpoints import failpoint
from headrace.foundation.resource_id import ResourceId
from headrace.log.topic_log import Commit, StateKey, TopicLog
from headrace.stages.context import StageContext
from headrace.stages.stage import STATUS_OWNER
from headrace.stages.stage_spec import StageSpec
from headrace.stages.stage_type import stage_type
from headrace.stages.topology import Topology
from headrace.teachers.answer_store import kept


@dataclass(frozen=True, slots=True)
class PurgeScope:
    """What a purge deletes."""

    own: tuple[StageSpec, ...]
    topics: tuple[str, ...]
    files: tuple[str, ...]
    """Relative to the state directory."""
    readers: tuple[StageSpec, ...]
    """Stages of other resources that read its topics and will find nothing there."""

    @property
    def stopped(self) -> tuple[StageSpec, ...]:
        return (*self.own, *self.readers)


def scope(topology: Topology, resource: ResourceId) -> PurgeScope:
    """FinalError: the resource is not ready, so its data is unknown."""
    for missing in topology.not_ready:
        if missing.id == resource:
            raise FinalError(
                f"{resource.kind}/{resource.name} is not ready, so Headrace does not know what it wrote: {missing.message}",
                next_step="Make it ready first, or delete it without --purge.",
            )
    own = topology.of_resource(resource)
    others = [one for one in topology.specs if one.id != resource]
    needed = {topic.name for one in others for topic in (*one.shares, *one.writes)}
    topics = tuple(dict.fromkeys(t.name for one in own for t in (*one.writes, *one.shares) if t.name not in needed))
    files = tuple(dict.fromkeys(held for one in own for held in one.holds))
    return PurgeScope(own, topics, files, tuple(one for one in others if any(r.topic in topics for r in one.reads)))


def purge(request: Request, topology: Topology, context: StageContext) -> tuple[Commit, str]:
    """Performs the steps before the commit; returns the commit and the message. Its stages must not be running."""
    found = scope(topology, request.id)
    freed = 0
    for spec in found.own:
        context.log.acquire_lease(spec.name, context.holder)
    for spec in found.own:
        failpoint("purge.stage.before")
        freed += stage_type(spec.kind).purge(spec, context)
    for held in found.files:
        failpoint("purge.file.before")
        freed += _remove(context.state / held)
    for name in found.topics:
        failpoint("purge.topic.before")
        freed += context.log.delete_topic(name).bytes or 0
    for spec in found.own:
        failpoint("purge.group.before")
        context.log.forget_group(spec.name)
    return commit_of(request.id, found, context.log), f"purged {request.resource}: {freed:,} bytes freed"


def commit_of(resource: ResourceId, found: PurgeScope, log: TopicLog) -> Commit:
    """Removes the resource, its stages' state in the log, and their statuses."""
    state: dict[StateKey, bytes | None] = {
        resource_store.key_of(resource): None,
        **{StateKey(STATUS_OWNER, key): None for key in log.state(STATUS_OWNER, f"{resource}/")},
    }
    return Commit(state=state, clear=[one.name for one in found.own])


def size_of(path: Path) -> int:
    """Bytes of a file, or of everything in a folder; 0 if it does not exist."""
    if path.is_dir():
        return sum(one.stat().st_size for one in path.rglob("*") if one.is_file())
    return path.stat().st_size if path.exists() else 0


def _remove(path: Path) -> int:
    size = size_of(path)
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    return size


def held(found: PurgeScope, log: TopicLog, state: Path) -> dict[str, int]:
    """What would be deleted, with its size where known."""
    known = {info.spec.name: info for info in log.topics()}
    sizes = {name: known[name].bytes or 0 for name in found.topics if name in known}
    sizes |= {name: size for name in found.files if (size := size_of(state / name))}
    for spec in found.own:
        if answers := kept(state / "teachers.sqlite", spec.id).bytes:
            sizes["teachers.sqlite"] = answers
    return sizes
