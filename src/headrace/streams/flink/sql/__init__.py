"""Flink SQL, written from the logical plan."""
