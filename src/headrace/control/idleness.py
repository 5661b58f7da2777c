"""Whether there is nothing left to do: bounded sources are read, and every consumer has passed the end of its topics."""

from headrace.events import topics
from headrace.log.topic_log import TopicLog
from headrace.stages.index import stage as index
from headrace.stages.ingest import stage as ingest
from headrace.stages.mirror import stage as mirror
from headrace.stages.topology import Topology


def consumers(topology: Topology) -> list[tuple[str, str]]:
    """(consumer group, topic) down the data path, sources first."""
    pairs = [(index.group(one), topics.events(one.namespace, one.connector)) for one in topology.index]
    for one in topology.transform:
        pairs += [(f"transform/{one.namespace}.{one.finetuner}", binding.topic) for binding in one.streams]
    for one in topology.prompt:
        pairs.append((f"prompt/{one.namespace}.{one.finetuner}", topics.rows(one.namespace, one.finetuner)))
    for one in topology.label:
        pairs.append((f"label/{one.namespace}.{one.finetuner}", topics.prompts(one.namespace, one.finetuner)))
    for one in topology.train:
        pairs.append((f"train/{one.namespace}.{one.finetuner}", topics.examples(one.namespace, one.finetuner)))
    for one in topology.mirror:
        pairs.append((mirror.group(one.namespace, one.finetuner), topics.scores(one.namespace, one.finetuner)))
        pairs.append((mirror.group(one.namespace, one.finetuner), topics.decisions(one.namespace, one.finetuner)))
    for one in topology.sinks:
        pairs.append((f"sink/{one.sink.namespace}.{one.sink.name}", one.topic))
    return pairs


def lags(log: TopicLog, topology: Topology) -> dict[str, int]:
    """Records that each consumer group has still to read."""
    known = {info.spec.name for info in log.topics()}
    # Offsets before ends: whoever had reached an end that is read afterwards was still there at that moment, all at once.
    read = [(group, topic, log.offset(group, topic)) for group, topic in consumers(topology) if topic in known]
    ends = {info.spec.name: info.end_offset for info in log.topics()}
    result: dict[str, int] = {}
    for group, topic, offset in read:
        result[group] = result.get(group, 0) + max(0, ends[topic] - offset)
    return result


def is_idle(log: TopicLog, topology: Topology, holder: str) -> bool:
    """True once nothing can change any more without a new record from outside; `holder`: whose ingest must have seen the end."""
    if not all(_read(log, topology, one.source.namespace, one.source.name, holder) for one in topology.ingest):
        return False
    known = {info.spec.name for info in log.topics()}
    if any(topic not in known for _, topic in consumers(topology)):
        return False
    if any((said := index.read_index_state(log, one)) is None or said.building for one in topology.index):
        return False
    return not any(lags(log, topology).values())


def _read(log: TopicLog, topology: Topology, namespace: str, connector: str, holder: str) -> bool:
    """Rows must have ended. Documents are watched for ever: what there was of them is enough."""
    streams = {binding.connector for one in topology.transform for binding in one.streams if one.namespace == namespace}
    documents = {one.connector for one in topology.index if one.namespace == namespace} - streams
    if connector in documents and ingest.caught_up(log, namespace, connector, holder):
        return True
    return ingest.finished(log, namespace, connector, holder)
