"""What the doors count of knowledge bases, as their index has written it into the log."""

from collections.abc import Mapping, Sequence

from headrace.doors.gateway.metrics import CountedHistogram, Gauge, Labels, Metric
from headrace.log.topic_log import TopicLog
from headrace.stages.index.freshness import Freshness
from headrace.stages.index.options import KnowledgeOptions
from headrace.stages.index.stage import read_index_state

LABELS = ("namespace", "knowledge_base")


def knowledge_metrics(bases: Sequence[KnowledgeOptions], log: TopicLog) -> list[Metric]:
    """Freshness as a histogram, and the changes that were taken in."""

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
        CountedHistogram("headrace_knowledge_freshness_seconds", "From a change being seen to its being searchable.", freshness, LABELS),
        Gauge("headrace_knowledge_changes_total", "Changes of documents that were taken in.", changes, LABELS),
    ]  # fmt: skip
