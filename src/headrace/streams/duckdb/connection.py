"""One locked DuckDB in memory: no files, no extensions to fetch, no settings to change."""

import duckdb
import pyarrow as pa

from headrace.foundation.errors import FinalError
from headrace.streams.duckdb.macros import MACRO_NAMES, MACROS
from headrace.streams.stream_engine import EngineOptions

Error = duckdb.Error
Connection = duckdb.DuckDBPyConnection
DEFAULT_MEMORY_BYTES = 1 << 30


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


class Database:
    """Runs SQL over Arrow tables. One thread."""

    def __init__(self, options: EngineOptions) -> None:
        self._connection = connect(options)
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
        except duckdb.OutOfMemoryException as error:
            raise FinalError(
                f"the query exceeds its memory limit: {str(error).splitlines()[0]}",
                next_step="raise the memory limit, or shorten the windows",
            ) from error
        assert table is not None
        return table

    def close(self) -> None:
        self._connection.close()
