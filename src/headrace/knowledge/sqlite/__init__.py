"""The embedded knowledge store: one SQLite file per knowledge base, and an in-memory index in each process that searches.

May import foundation, `knowledge/`, the standard library's sqlite3, numpy, usearch (only in `neighbours`) and its numkong (only in
`vector_rows`). Never: YAML, HTTP, embedding, or a statement that contains part of a query. The file is the truth;
the index is derived from it, updated before every query, and may be lost at any time. Each file holds one idea:

- `database`: the file, its tables, its settings, the mapping of SQLite's errors
- `writer`: one transaction at a time, fenced, numbered
- `apply`, `chunks`, `vectors`, `terms`, `metadata`: what a batch changes, and its representation in the file
- `generations`, `purge`: other writes
- `documents`, `conditions`, `hits`: reads through SQL
- `feed`: rows of the file → `memory_index`: one generation, made of `rows`, `moments`, `postings`, `vector_rows`, `neighbours`
- `ranker`: a query to the index → ranked candidates
- `store`: the port, built on these
"""

from headrace.knowledge.sqlite.store import SqliteKnowledgeStore
from headrace.knowledge.store import StoreOptions

__all__ = ["open_store"]


def open_store(options: StoreOptions) -> SqliteKnowledgeStore:
    """Opens `STATE/knowledge/NAMESPACE.NAME.sqlite`, creating the folder and file if needed, readable by their owner only.

    StateVersionError: a newer Headrace wrote it. CorruptDataError: not a knowledge store. UnavailableError, DiskFullError: no
    access or no space.
    """
    return SqliteKnowledgeStore(options)
