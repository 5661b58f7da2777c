"""The embedded stream engine: buffer and fire.

Rows of open windows wait in Arrow; once the watermark has closed a window, the user's SQL, translated, runs over its rows and
the result is emitted once, in an order that depends on the rows alone. May import the room's own files, duckdb and pyarrow.
duckdb sees no file, no setting and no name of the user's.
"""

from headrace.streams.duckdb.engine import DuckDBEngine

__all__ = ["DuckDBEngine"]
