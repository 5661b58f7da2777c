"""Fields of Kafka topics as sources and sinks."""

from .case import Case

CASES: tuple[Case, ...] = ()
