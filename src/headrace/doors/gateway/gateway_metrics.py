"""What the gateway counts."""

from collections.abc import Sequence

from headrace.doors.gateway.metrics import Counter, Gauge, Histogram, Labels, Metric, exposition
from headrace.foundation.errors import NotFoundError
from headrace.serving.answering import AnswerService
from headrace.serving.open_answer import OpenAnswer
from headrace.serving.replica_pool import PoolState

_UNKNOWN = "unknown"
"""In place of a model's name that nobody serves: clients must not be able to invent labels."""


class GatewayMetrics:
    """All metrics of the serving room and its door."""

    def __init__(self, service: AnswerService, further: Sequence[Metric] = ()) -> None:
        """`further`: of what else stands at this address."""
        self._service = service
        self._further = tuple(further)
        self._requests = Counter("headrace_requests_total", "Requests by model and HTTP status.", ("model", "status"))
        self._latency = Histogram("headrace_request_seconds", "From request to last byte.", ("model",))
        self._first = Histogram("headrace_first_piece_seconds", "From request to the first piece of text.", ("model",))
        self._read = Counter("headrace_prompt_tokens_total", "Tokens read.", ("model", "version"))
        self._written = Counter("headrace_completion_tokens_total", "Tokens written.", ("model", "version"))
        versions = service.versions
        self._gauges: list[Metric] = [
            self._gauge("headrace_queue_length", "Requests that wait for a replica.", "queued"),
            self._gauge("headrace_requests_running", "Requests that a replica works on.", "running"),
            self._gauge("headrace_replicas", "Replicas that are alive.", "replicas"),
            self._gauge("headrace_replica_restarts_total", "Replicas that were started again.", "restarts"),
            Gauge("headrace_swaps_total", "Versions that took over.", lambda: {(): versions.swaps}),
            Gauge("headrace_failed_swaps_total", "Versions that could not be loaded.", lambda: {(): versions.failed_swaps}),
        ]  # fmt: skip

    def request(self, model: str, status: int, seconds: float) -> None:
        """Counts a request that has ended."""
        name = self._label(model)
        self._requests.add(name, str(status))
        self._latency.observe(name, value=seconds)

    def first_piece(self, model: str, seconds: float) -> None:
        self._first.observe(self._label(model), value=seconds)

    def answered(self, answer: OpenAnswer) -> None:
        """Counts an answer's tokens, by the version that wrote them."""
        version = answer.version
        self._read.add(version.model, version.version, amount=answer.prompt_tokens)
        self._written.add(version.model, version.version, amount=answer.output_tokens)

    def page(self) -> str:
        """Text for Prometheus."""
        return exposition(
            [self._requests, self._latency, self._first, self._read, self._written, *self._gauges, *self._further]
        )

    def _gauge(self, name: str, text: str, field: str) -> Gauge:
        def read() -> dict[Labels, float]:
            return {(model,): _number(state, field) for model, state in self._service.pools.items()}

        return Gauge(name, text, read, ("model",))

    def _label(self, model: str) -> str:
        try:
            self._service.resolve(model)
        except NotFoundError:
            return _UNKNOWN
        return model


def _number(state: PoolState, field: str) -> float:
    return float(getattr(state, field))
