"""observe: what `get`, `describe` and the status show of each applied resource."""

from dataclasses import dataclass
from typing import Any

import msgspec

from headrace.control.resource_store import ResourceStore
from headrace.control.role import HEALTH_STAGE
from headrace.foundation.resource_id import ResourceId
from headrace.foundation.settings import Settings
from headrace.kinds.catalog import Resource
from headrace.kinds.topology import topology
from headrace.log.topic_log import TopicLog
from headrace.stages.stage import StageStatus, read_statuses
from headrace.stages.topology import Note, NotReady


@dataclass(frozen=True, slots=True)
class ResourceView:
    """A resource as `get` and `describe` show it."""

    id: ResourceId
    ready: str
    """True, False or Unknown"""
    reason: str
    document: dict[str, Any]
    """Kubernetes-shaped, secrets masked, with `status`."""


def resource_views(log: TopicLog, settings: Settings) -> list[ResourceView]:
    """Every applied resource with its conditions."""
    store = ResourceStore(log)
    resources = store.all()
    plan = topology(resources, settings)
    missing = {one.id: one for one in plan.not_ready}
    statuses = read_statuses(log)
    return [
        _view(
            resource,
            store.generation(resource.id),
            missing.get(resource.id),
            [note for note in plan.notes if note.id == resource.id],
            statuses,
        )
        for resource in resources
    ]


def _view(
    resource: Resource, generation: int, missing: NotReady | None, notes: list[Note], statuses: list[StageStatus]
) -> ResourceView:
    mine = [one for one in statuses if one.resource == str(resource.id)]
    failing = [
        c for one in mine for c in one.conditions if c.status == "False" and c.reason not in ("Finished", "Waiting")
    ]
    if missing:
        ready, reason, message = "False", missing.reason, missing.message
    elif failing:
        ready, reason, message = "False", failing[0].reason, failing[0].message
    else:
        ready, reason, message = "True", "Accepted", ""
    conditions = [{"type": "Ready", "status": ready, "reason": reason, "message": message}]
    conditions += [{"type": n.reason, "status": "True", "reason": n.reason, "message": n.message} for n in notes]
    conditions += [msgspec.to_builtins(condition) for one in mine for condition in one.conditions]
    document = {
        **resource.shown(),
        "status": {
            "observedGeneration": generation,
            "conditions": conditions,
            "progress": {one.stage: one.progress for one in mine if not one.stage.endswith(HEALTH_STAGE)},
        },
    }
    return ResourceView(resource.id, ready, reason, document)
