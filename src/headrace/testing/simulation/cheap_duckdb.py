"""One DuckDB for all queries of the process, and one rehearsal of equal ones: most of what the opening of a stage costs.

An instance costs 40 ms to open, a connection to it next to nothing. What a query registers and creates belongs to its connection, so
queries stay as far apart as in instances of their own.
"""

from collections.abc import Generator
from contextlib import contextmanager
from unittest.mock import patch

from headrace.streams.duckdb import DuckDBEngine, connection
from headrace.streams.stream_engine import EngineOptions, QueryPlan, QuerySpec

_instances: dict[tuple[int, int | None], connection.Connection] = {}
_plans: dict[tuple[object, ...], QueryPlan] = {}
_open_instance, _make_plan = connection.connect, DuckDBEngine.plan


@contextmanager
def cheap_duckdb() -> Generator[None]:
    """Connections in place of instances and known plans, while the context lasts."""
    with patch.object(connection, "connect", _connect), patch.object(DuckDBEngine, "plan", _plan):
        yield


def _connect(options: EngineOptions) -> connection.Connection:
    key = options.parallelism, options.memory_bytes
    if key not in _instances:
        _instances[key] = _open_instance(options)
    return _instances[key].cursor()


def _plan(engine: DuckDBEngine, spec: QuerySpec) -> QueryPlan:
    key = (spec.sql, *spec.inputs, *map(id, spec.tables), spec.timeline)
    if key not in _plans:
        _plans[key] = _make_plan(engine, spec)
    return _plans[key]
