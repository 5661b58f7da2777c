"""Metrics of knowledge bases, as their index stage reports them in the log."""

from collections.abc import Mapping, Sequence

from headrace.doors.gateway.metrics import CountedHistogram, Gauge, Labels, Metric
from headrace.log.topic_log import TopicLog
from headrace.stages.index.freshness import Freshness
from headrace.stages.index.options import KnowledgeOptions
from headrace.stages.index.stage import read_index_state

LABELS = ("namespace", "knowledge_base")


def knowledge_metrics(bases: Sequence[KnowledgeOptions], log: TopicLog) -> list[Metric]:
    """A freshness histogram and the number of changes indexed."""

    def freshness() -> Mapping[Labels, Mapping[float, int]]:
        found: dict[Labels, Mapping[float, int]] = {}
        for one in bases:
            if said := read_index_state(log, one):
                counted = Freshness(said.freshness).histogram()
                found[one.id.namespace, one.id.name] = {bound / 1000: count for bound, count in counted.items()}
        return found

    def changes() -> dict[Labels, float]:
        said = {(one.id.namespace, one.id.name): read_index_state(log, one) for one in bases}
        return {labels: float(one.applied) for labels, one in said.items() if one}

    if not bases:
        return []
    return [
        CountedHistogram("headrace_knowledge_freshness_seconds", "Seconds from seeing a change until it is searchable.", freshness, LABELS),
        Gauge("headrace_knowledge_changes_total", "Document changes indexed.", changes, LABELS),
    ]  # fmt: skip
