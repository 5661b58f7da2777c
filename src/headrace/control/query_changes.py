"""What a changed query will do, said before it is applied."""

from collections.abc import Iterator
from datetime import UTC, datetime

from headrace.foundation.clock import SYSTEM_CLOCK
from headrace.foundation.errors import HeadraceError
from headrace.log.topic_log import TopicLog
from headrace.stages.options import Topology, TransformOptions
from headrace.stages.running_query import read_running, settle, start_offset
from headrace.stages.transform_inputs import QueryInputs
from headrace.streams.registry import open_engine


def query_changes(topology: Topology, log: TopicLog, streams: str) -> dict[tuple[str, str], str]:
    """A sentence for each finetuner, by namespace and name, whose query runs on `log` and will not go on as it is.

    `streams`: the engine. Nothing is said of queries that do not run yet, or whose inputs have no schema yet.
    """
    sources = {(one.source.namespace, one.source.name): one.source for one in topology.ingest}
    found: dict[tuple[str, str], str] = {}
    for options in topology.transform:
        running = read_running(log, f"transform/{options.namespace}.{options.finetuner}")
        if running is None:
            continue
        own = {name: source for (namespace, name), source in sources.items() if namespace == options.namespace}
        spec = QueryInputs(options, own, log, SYSTEM_CLOCK).spec()
        if spec is None:
            continue
        try:
            settled = settle(running, spec, open_engine(streams).plan)
        except HeadraceError as error:
            found[options.namespace, options.finetuner] = f"its query will be refused: {error}"
            continue
        if settled.carry == "continue":
            found[options.namespace, options.finetuner] = "its query goes on where the former one is"
        elif settled.carry == "restart":
            found[options.namespace, options.finetuner] = "; ".join(_anew(options, log))
    return found


def _anew(options: TransformOptions, log: TopicLog) -> Iterator[str]:
    """What it keeps cannot be taken over: it reads, and its rows are asked and learned, from the start once more."""
    yield "its query cannot take over what the former one keeps and begins anew"
    for one in options.streams:
        start, end = start_offset(log, one.topic, options), log.topic(one.topic).end_offset
        since = "its start" if options.start_ms is None else _moment(options.start_ms)
        yield f"{one.connector or one.finetuner} is read from {since} (up to {max(0, end - start):,} records), and what comes of it is learned again"
    if options.start_ms is None:
        yield "preProcessing.startTime chooses another start"


def _moment(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat().replace("+00:00", "Z")
