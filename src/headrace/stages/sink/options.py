"""One sink StreamConnector."""

from dataclasses import dataclass

from headrace.connectors.sink import SinkOptions


@dataclass(frozen=True, slots=True)
class SinkStageOptions:
    """A sink StreamConnector."""

    sink: SinkOptions
    topic: str
    sql: str | None = None
