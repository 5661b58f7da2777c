"""Resources → the specs of every stage they need, and what cannot run yet, with the reason."""

import os
from collections.abc import Iterable, Mapping, Sequence

from headrace.foundation.errors import InvalidDeclarationError
from headrace.foundation.resource_id import ResourceId
from headrace.foundation.settings import Settings
from headrace.kinds.devices import gpu_count
from headrace.kinds.planning import NotReadyError, Planned, Planning
from headrace.kinds.registry import KINDS
from headrace.kinds.resource import Resource
from headrace.stages.stage_spec import StageSpec, along_the_data
from headrace.stages.topology import NotReady, Topology
from headrace.streams.registry import open_engine
from headrace.streams.stream_engine import EngineCapabilities

PRIVATE_LOGS = frozenset({"sqlite"})
"""Logs that processes outside of Headrace cannot read."""


def topology(resources: Iterable[Resource], settings: Settings, environ: Mapping[str, str] | None = None) -> Topology:
    """Everything that the resources need, in a fixed order; secrets are in clear in it, so it is never stored or shown."""
    by_id = {one.id: one for one in sorted(resources, key=lambda one: one.id)}
    planning = Planning(
        by_id,
        settings,
        os.environ if environ is None else environ,
        _engine(settings),
        len(os.sched_getaffinity(0)),
        gpu_count(),
        _plan,
    )
    specs: list[StageSpec] = []
    failed: list[NotReady] = []
    for resource in by_id.values():
        try:
            specs += planning.planned(resource).specs
        except NotReadyError as error:
            failed.append(NotReady(resource.id, error.reason, error.message))
    clashes = list(_clashes(specs))
    clashing = {one.id for one in clashes}
    notes = [note for one in by_id.values() for note in KINDS[one.kind].notes(one, planning)]
    return Topology(along_the_data(one for one in specs if one.id not in clashing), (*failed, *clashes), tuple(notes))


def _plan(resource: Resource, planning: Planning) -> Planned:
    return KINDS[resource.kind].plan(resource, planning)


def _engine(settings: Settings) -> EngineCapabilities:
    engine = open_engine(settings.streams, settings.stream_options).capabilities
    if not engine.in_process and settings.log in PRIVATE_LOGS:
        raise InvalidDeclarationError(
            f"the engine {engine.name} cannot read the {settings.log} log, which is a file on this machine",
            where="settings",
            next_step='set log = "kafka", or streams = "duckdb"',
        )
    return engine


def _clashes(specs: Sequence[StageSpec]) -> Iterable[NotReady]:
    """A topic has one writer, and a stage's name one owner: of two resources, the first by kind and name has it."""
    owners: dict[str, ResourceId] = {}
    told: set[ResourceId] = set()
    for spec in sorted(specs, key=lambda one: one.id):
        claimed = [f"the topic {topic.name}" for topic in spec.writes]
        claimed += [] if spec.partition else [f"the stage {spec.name}"]
        for what in claimed:
            owner = owners.setdefault(what, spec.id)
            if owner != spec.id and spec.id not in told:
                told.add(spec.id)
                yield NotReady(spec.id, "NameTaken", f"{what} already belongs to {owner}; rename one of the two")
