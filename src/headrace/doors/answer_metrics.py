"""Metrics of the journal of answers."""

from collections.abc import Mapping

from headrace.doors.gateway.gateway_metrics import MODEL, labels_of
from headrace.doors.gateway.metrics import Gauge, Labels, Metric
from headrace.foundation.resource_id import ResourceId
from headrace.stages.serve.journal import AnswerJournal


def answer_metrics(journal: AnswerJournal) -> list[Metric]:
    """Waiting answers, dropped answers, and the bytes of those waiting."""
    return [
        Gauge("headrace_answers_waiting", "Answers that are not in the log yet.", lambda: _per_model(journal.waiting), MODEL),
        Gauge("headrace_answers_dropped_total", "Answers that could not be recorded.", lambda: _per_model(journal.dropped), MODEL),
        Gauge("headrace_answers_waiting_bytes", "Bytes of the answers that are not in the log yet.", lambda: {(): float(journal.bytes)}),
    ]  # fmt: skip


def _per_model(counts: Mapping[ResourceId, int]) -> dict[Labels, float]:
    return {labels_of(model): float(count) for model, count in counts.items()}
