"""Queries as jobs on a Flink cluster, by its SQL gateway and its JobManager; nothing of Flink runs in this process."""

from headrace.streams.flink.engine import FlinkEngine

__all__ = ["FlinkEngine"]
