"""The DuckDB engine against the public corpus."""

import pytest

from headrace.streams.duckdb import DuckDBEngine
from headrace.streams.stream_engine import StreamEngine
from headrace.testing.engine_conformance import EngineConformance


class TestDuckDB(EngineConformance):
    @pytest.fixture
    def engine(self) -> StreamEngine:
        return DuckDBEngine()
