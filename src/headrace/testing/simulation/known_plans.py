"""One rehearsal of equal queries: most of what the opening of a stage costs."""

from collections.abc import Generator
from contextlib import contextmanager
from unittest.mock import patch

from headrace.streams.duckdb import DuckDBEngine
from headrace.streams.stream_engine import QueryPlan, QuerySpec

_plans: dict[tuple[object, ...], QueryPlan] = {}
_make_plan = DuckDBEngine.plan


@contextmanager
def known_plans() -> Generator[None]:
    """A query is planned once, while the context lasts."""
    with patch.object(DuckDBEngine, "plan", _plan):
        yield


def _plan(engine: DuckDBEngine, spec: QuerySpec) -> QueryPlan:
    key = (spec.sql, *spec.inputs, *map(id, spec.tables), spec.timeline)
    if key not in _plans:
        _plans[key] = _make_plan(engine, spec)
    return _plans[key]
