"""One way to keep data in a SQLite file, for every part that does.

May import foundation and the standard library's sqlite3. Knows no table of any part. Each file holds one idea:

- `file`: opening: pragmas, the write-ahead log, page size, connections
- `schema`: what a kind of file is: its mark, versions, tables, migrations
- `privacy`: a file and its directory are readable by their owner alone
- `errors`: errors of SQLite and of the file system as those of `foundation/errors.py`
"""

from headrace.foundation.sqlite.file import BUSY_SECONDS, SqliteFile
from headrace.foundation.sqlite.privacy import make_directory_private
from headrace.foundation.sqlite.schema import Schema, run

__all__ = ["BUSY_SECONDS", "Schema", "SqliteFile", "make_directory_private", "run"]
