"""Deletes a resource that also runs on a cluster: stops it there first. What its stages wrote stays."""

from headrace.control import resource_store
from headrace.control.requests import Request
from headrace.foundation.failpoints import failpoint
from headrace.foundation.resource_id import ResourceId
from headrace.log.topic_log import Commit
from headrace.stages.context import Backends, StageContext
from headrace.stages.stage_type import stage_type
from headrace.stages.topology import Topology


def runs_elsewhere(topology: Topology, resource: ResourceId, backends: Backends) -> bool:
    """Whether something must be stopped before the resource is deleted."""
    return any(stage_type(one.kind).runs_elsewhere(one, backends) for one in topology.of_resource(resource))


def delete(request: Request, topology: Topology, context: StageContext) -> tuple[Commit, str]:
    """Stops what runs elsewhere; returns the commit that removes the resource. Its stages must not be running."""
    for spec in topology.of_resource(request.id):
        failpoint("delete.stage.before")
        stage_type(spec.kind).suspend(spec, context)
    return Commit(state={resource_store.key_of(request.id): None}), f"{request.id.kind}/{request.id.name} deleted"
