"""Performs requests while the stages concerned are stopped."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace

from headrace.control import deletion, purge, reset
from headrace.control.requests import Request, RequestOutcome, answered, pending
from headrace.foundation.errors import HeadraceError
from headrace.foundation.failpoints import failpoint
from headrace.log.topic_log import Commit
from headrace.stages.context import StageContext
from headrace.stages.topology import Topology

Pause = Callable[[set[str]], AbstractContextManager[None]]
"""Stops the stages of those names; on exit, starts what is then applied."""


def perform_pending(topology: Callable[[], Topology], context: StageContext, pause: Pause) -> int:
    """Every request, oldest first; each sees what is applied when its turn comes. Returns their number."""
    requests = pending(context.log)
    for key, request in requests.items():
        plan = topology()
        with pause(concerned(plan, request)):
            perform(key, request, plan, context)
    return len(requests)


def concerned(topology: Topology, request: Request) -> set[str]:
    """Names of the stages that must be stopped; none if the request cannot be performed at all."""
    try:
        if request.verb == "purge":
            return {one.name for one in purge.scope(topology, request.id).stopped}
        if request.verb == "delete":
            return {one.name for one in topology.of_resource(request.id)}
        return {one.name for one in reset.scope(topology, request.id, request.start).stages}
    except HeadraceError:  # performing it says why
        return set()


def perform(key: str, request: Request, topology: Topology, context: StageContext) -> None:
    """Ends with the request's one commit. A step that fails leaves its reason as the outcome; the request may be repeated."""
    work = {"purge": purge.purge, "delete": deletion.delete, "reset": reset.reset}[request.verb]
    try:
        commit, words = work(request, topology, context)
        outcome = RequestOutcome(words)
    except HeadraceError as error:
        commit, outcome = Commit(), RequestOutcome(str(error), error.exit_code)
    failpoint(f"{request.verb}.commit.before")
    context.log.commit(replace(commit, state={**commit.state, **answered(context.log, key, outcome, context.clock)}))
    failpoint(f"{request.verb}.commit.after")
