"""Metrics of the gateway."""

from collections.abc import Mapping, Sequence

from headrace.doors.gateway.metrics import Counter, Gauge, Histogram, Labels, Metric, exposition
from headrace.foundation.errors import HeadraceError
from headrace.foundation.resource_id import ResourceId
from headrace.serving.answering import AnswerService
from headrace.serving.open_answer import OpenAnswer
from headrace.serving.replica_pool import PoolState

MODEL = ("kind", "namespace", "model")
"""The labels of a model."""
_UNKNOWN: Labels = ("", "", "unknown")
"""For unknown model names: clients must not be able to create labels."""


def labels_of(model: ResourceId) -> Labels:
    """The values of `MODEL`."""
    return model.kind, model.namespace, model.name


class GatewayMetrics:
    """All metrics of the serving room and its door."""

    def __init__(self, service: AnswerService, further: Sequence[Metric] = ()) -> None:
        """`further`: metrics of the other doors at this address."""
        self._service = service
        self._further = tuple(further)
        self._requests = Counter("headrace_requests_total", "Requests by model and HTTP status.", (*MODEL, "status"))
        self._latency = Histogram("headrace_request_seconds", "Seconds from the request to the last byte.", MODEL)
        self._first = Histogram(
            "headrace_first_piece_seconds", "Seconds from the request to the first piece of text.", MODEL
        )
        self._read = Counter("headrace_prompt_tokens_total", "Tokens read.", (*MODEL, "version"))
        self._written = Counter("headrace_completion_tokens_total", "Tokens written.", (*MODEL, "version"))
        versions = service.versions
        self._gauges: list[Metric] = [
            self._gauge("headrace_queue_length", "Requests waiting for a replica.", "queued"),
            self._gauge("headrace_requests_running", "Requests being answered.", "running"),
            self._gauge("headrace_replicas", "Live replicas.", "replicas"),
            self._gauge("headrace_replica_restarts_total", "Replica restarts.", "restarts"),
            Gauge("headrace_swaps_total", "Completed switches to another version.", lambda: _per_model(versions.swaps_of), MODEL),
            Gauge("headrace_failed_swaps_total", "Versions that could not be loaded.", lambda: _per_model(versions.failed_swaps_of), MODEL),
        ]  # fmt: skip

    def request(self, model: str, status: int, seconds: float) -> None:
        """Counts a request that has ended."""
        labels = self._labels(model)
        self._requests.add(*labels, str(status))
        self._latency.observe(*labels, value=seconds)

    def first_piece(self, model: str, seconds: float) -> None:
        self._first.observe(*self._labels(model), value=seconds)

    def answered(self, answer: OpenAnswer) -> None:
        """Counts an answer's tokens, by the version that wrote them."""
        labels = *labels_of(answer.version.model), answer.version.version
        self._read.add(*labels, amount=answer.prompt_tokens)
        self._written.add(*labels, amount=answer.output_tokens)

    def page(self) -> str:
        """Text for Prometheus."""
        return exposition(
            [self._requests, self._latency, self._first, self._read, self._written, *self._gauges, *self._further]
        )

    def _gauge(self, name: str, text: str, field: str) -> Gauge:
        def read() -> dict[Labels, float]:
            return {labels_of(model): _number(state, field) for model, state in self._service.pools.items()}

        return Gauge(name, text, read, MODEL)

    def _labels(self, model: str) -> Labels:
        """Of the model that a name means, whichever of its names it is."""
        try:
            return labels_of(self._service.resolve(model.partition("@")[0]).model)
        except HeadraceError:
            return _UNKNOWN


def _per_model(counts: Mapping[ResourceId, int]) -> dict[Labels, float]:
    return {labels_of(model): count for model, count in counts.items()}


def _number(state: PoolState, field: str) -> float:
    return float(getattr(state, field))
