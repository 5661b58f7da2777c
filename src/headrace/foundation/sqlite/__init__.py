"""SQLite files: one implementation for every part that keeps data in one.

May import foundation and the standard library's sqlite3. Knows no part's tables. Each file holds one idea:

- `file`: opening: pragmas, the write-ahead log, page size, connections
- `schema`: a kind of file: its application id, versions, tables, migrations
- `privacy`: a file and its directory are readable by their owner alone
- `errors`: maps SQLite and file system errors to `foundation/errors.py`
"""

from headrace.foundation.sqlite.file import BUSY_SECONDS, SqliteFile
from headrace.foundation.sqlite.privacy import make_directory_private
from headrace.foundation.sqlite.schema import Schema, run

__all__ = ["BUSY_SECONDS", "Schema", "SqliteFile", "make_directory_private", "run"]
