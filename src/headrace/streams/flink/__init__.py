"""Queries as jobs on a Flink cluster."""
