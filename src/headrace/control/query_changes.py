"""What a changed query will do, shown before it is applied."""

from collections.abc import Iterator
from datetime import UTC, datetime

from headrace.foundation.clock import SYSTEM_CLOCK
from headrace.foundation.errors import HeadraceError
from headrace.foundation.resource_id import ResourceId
from headrace.log.topic_log import TopicLog
from headrace.stages.topology import Topology
from headrace.stages.transform.inputs import QueryInputs
from headrace.stages.transform.options import TransformOptions
from headrace.stages.transform.running_query import read_running, settle, start_offset
from headrace.streams.registry import open_engine


def query_changes(topology: Topology, log: TopicLog, streams: str) -> dict[ResourceId, str]:
    """A sentence for each owner whose query runs on `log` and will not resume as it is.

    `streams`: the engine. Skips queries that do not run yet, or whose inputs have no schema yet.
    """
    found: dict[ResourceId, str] = {}
    for stage in topology.of_kind("transform"):
        options = stage.options
        assert isinstance(options, TransformOptions)
        running = read_running(log, stage.name)
        if running is None:
            continue
        spec = QueryInputs(options, log, SYSTEM_CLOCK).spec()
        if spec is None:
            continue
        try:
            settled = settle(running, spec, open_engine(streams).plan)
        except HeadraceError as error:
            found[stage.id] = f"its query will be refused: {error}"
            continue
        if settled.carry == "continue":
            found[stage.id] = "its query continues where the previous one stopped"
        elif settled.carry == "restart":
            found[stage.id] = "; ".join(_restart(options, log))
    return found


def _restart(options: TransformOptions, log: TopicLog) -> Iterator[str]:
    """It cannot take over state: it reads its inputs again, and its rows are labelled and learned again."""
    yield "its query cannot take over the previous one's state and restarts"
    for one in options.streams:
        start, end = start_offset(log, one.topic, options), log.topic(one.topic).end_offset
        since = "its start" if options.start_ms is None else _moment(options.start_ms)
        yield f"{one.origin.name} is read again from {since} (up to {max(0, end - start):,} records), and its rows are learned again"
    if options.start_ms is None:
        yield "set preProcessing.startTime to start elsewhere"


def _moment(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat().replace("+00:00", "Z")
