"""One locked DuckDB in memory: no files, no extensions to fetch, no settings to change."""

import weakref
from collections import deque

import duckdb
import pyarrow as pa

from headrace.foundation.errors import FinalError
from headrace.streams.duckdb.macros import MACRO_NAMES, MACROS
from headrace.streams.stream_engine import EngineOptions

Error = duckdb.Error
Connection = duckdb.DuckDBPyConnection
DEFAULT_MEMORY_BYTES = 1 << 30
_MOST_IDLE = 4
_UNUSABLE = (duckdb.OutOfMemoryException, duckdb.FatalException, duckdb.InternalException)
"""After these an instance is not used again."""
_Size = tuple[int, int | None]
"""Threads and bytes of memory, as in EngineOptions."""
_idle: dict[_Size, deque[Connection]] = {}
"""Instances that no query uses now. A new one takes 40 ms of CPU, because it enters every function into its catalog (DuckDB 2.0)."""


def connect(options: EngineOptions) -> Connection:
    """An instance of its own. What is set holds for every connection to it."""
    connection = duckdb.connect(":memory:", config={"threads": max(1, options.parallelism)})
    memory = options.memory_bytes or DEFAULT_MEMORY_BYTES
    for setting in (
        "SET GLOBAL TimeZone = 'UTC'",
        f"SET memory_limit = '{max(memory, 64 << 20)}B'",
        "SET temp_directory = ''",
        "SET enable_external_access = false",
        "SET autoinstall_known_extensions = false",
        "SET autoload_known_extensions = false",
        "SET GLOBAL python_enable_replacements = false",
        "SET lock_configuration = true",
    ):
        connection.execute(setting)
    return connection


def _take(key: _Size) -> Connection:
    """An idle instance of this size, or a new one."""
    try:
        return _idle[key].pop()
    except (KeyError, IndexError):
        return connect(EngineOptions(*key))


def _put(key: _Size, instance: Connection, connection: Connection) -> None:
    """After its use: what the query registered and created ends with its connection. The oldest beyond the limit is dropped.

    No lock: the garbage collector may call it anywhere, also within itself and `_take`.
    """
    connection.close()
    _idle.setdefault(key, deque(maxlen=_MOST_IDLE)).append(instance)


class Database:
    """Runs SQL over Arrow tables, in an instance that nobody else uses meanwhile: its memory limit is its own. One thread."""

    def __init__(self, options: EngineOptions) -> None:
        key = options.parallelism, options.memory_bytes
        instance = _take(key)
        self._connection = instance.cursor()
        self._end = weakref.finalize(self, _put, key, instance, self._connection)
        self._end.atexit = False
        self._has_macros = False

    def register(self, name: str, table: pa.Table) -> None:
        """Makes a table readable under a name, until it is registered again."""
        self._connection.register(name, table)

    def query(self, sql: str) -> pa.Table:
        """All rows of a query. Raises `Error`; FinalError where memory does not suffice."""
        if not self._has_macros and any(name in sql for name in MACRO_NAMES):
            self._connection.execute("; ".join(f"CREATE TEMPORARY MACRO {macro}" for macro in MACROS))
            self._has_macros = True
        try:
            table = self._connection.sql(sql).to_arrow_table()
        except _UNUSABLE as error:
            self._end.detach()
            if not isinstance(error, duckdb.OutOfMemoryException):
                raise
            raise FinalError(
                f"the query exceeds its memory limit: {str(error).splitlines()[0]}",
                next_step="raise the memory limit, or shorten the windows",
            ) from error
        assert table is not None
        return table

    def close(self) -> None:
        """Also happens by itself when nothing refers to it any more."""
        self._end()
