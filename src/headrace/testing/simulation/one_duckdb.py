"""One DuckDB for all queries of the process: an instance costs 40 ms to open, a connection to it next to nothing.

What a query registers and creates belongs to its connection, so that queries stay as far apart as in instances of their own.
"""

from collections.abc import Generator
from contextlib import contextmanager

import duckdb

from headrace.streams.duckdb import connection
from headrace.streams.stream_engine import EngineOptions

_instances: dict[tuple[int, int | None], duckdb.DuckDBPyConnection] = {}
_open_instance = connection.connect


@contextmanager
def one_duckdb() -> Generator[None]:
    """Opens connections in place of instances, while the context lasts."""
    before, connection.connect = connection.connect, _connected
    try:
        yield
    finally:
        connection.connect = before


def _connected(options: EngineOptions) -> duckdb.DuckDBPyConnection:
    key = options.parallelism, options.memory_bytes
    if key not in _instances:
        _instances[key] = _open_instance(options)
    return _instances[key].cursor()
