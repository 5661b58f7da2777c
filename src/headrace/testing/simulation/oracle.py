"""What must hold: at any moment of a run, and at its end in comparison with the undisturbed run."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from headrace.log.topic_log import TopicLog
from headrace.stages.topology import Topology
from headrace.testing.builders import read_all
from headrace.testing.pipeline import differences, snapshot
from headrace.testing.simulation.declarations import NAMESPACES

BY_INPUT = (".late", ".dead.transform")
"""Topics that several inputs write to: the order between two inputs is that of reading, and only the order of each is promised."""
ORIGIN = 5
"""Its place in a record of a snapshot."""


def outcome(topology: Topology, state: Path) -> dict[str, Any]:
    """Topics, registries, digests of weights, files: what two runs of the same inputs must agree on."""
    found = snapshot(topology, state)
    return {name: _by_input(value) if name.endswith(BY_INPUT) else value for name, value in found.items()}


def _by_input(records: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return sorted(records, key=lambda one: json.loads(one[ORIGIN])["topic"] if one[ORIGIN] else "")


def disagreements(found: dict[str, Any], undisturbed: dict[str, Any]) -> list[str]:
    """A line for each topic, registry, digest or file that differs."""
    return differences(found, undisturbed)


def violations(log: TopicLog, topology: Topology) -> list[str]:
    """What must never be, not even for a moment: an id twice, an offset beyond the end, one namespace's data in another's topics."""
    topics = {info.spec.name: info.end_offset for info in log.topics()}
    wrong = [
        f"{spec.name} has read {offset} of {topics[read.topic]} records of {read.topic}"
        for spec in topology.specs
        for read in spec.reads
        if read.topic in topics and (offset := log.offset(spec.name, read.topic)) > topics[read.topic]
    ]
    for topic in topics:
        records = read_all(log, topic)
        if twice := _repeated([one.id for one in records]):
            wrong.append(f"{topic} holds {twice[0]} twice")
        for other in _others(topic):
            crossed = [one.id for one in records if other.encode() in one.value or other in one.origin]
            if crossed:
                wrong.append(f"{topic} holds data of namespace {other}: {crossed[0]}")
    return wrong


def _repeated(ids: Sequence[str]) -> list[str]:
    known = set[str]()
    return [one for one in ids if one in known or known.add(one)]


def _others(topic: str) -> list[str]:
    mine = topic.partition(".")[0]
    return [one for one in NAMESPACES if one != mine] if mine in NAMESPACES else []
