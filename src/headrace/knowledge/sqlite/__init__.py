"""The embedded knowledge store: one SQLite file per knowledge base, and an index in the memory of each process that searches.

May import foundation, `knowledge/`, the standard library's sqlite3, numpy, usearch (in `neighbours` alone) and its numkong (in
`vector_rows` alone). Never here: YAML, HTTP, embedding, and any statement with a part of a query in its text. Truth is the file;
the index is derived from it, is brought up to date before every query, and may be lost at any time. Each file holds one idea:

- `database`: the file, its tables, its settings, the translation of SQLite's errors
- `writer`: one transaction at a time, fenced, numbered
- `apply`, `chunks`, `vectors`, `terms`, `metadata`: what a batch changes, and its form in the file
- `generations`, `purge`: what else is written
- `documents`, `conditions`, `hits`: what is read by SQL
- `feed`: rows of the file → `memory_index`: one generation, made of `rows`, `moments`, `postings`, `vector_rows`, `neighbours`
- `ranker`: a question to the index → candidates, ranked
- `store`: the port, made of these
"""

from headrace.knowledge.sqlite.store import SqliteKnowledgeStore
from headrace.knowledge.store import StoreOptions

__all__ = ["open_store"]


def open_store(options: StoreOptions) -> SqliteKnowledgeStore:
    """Opens `STATE/knowledge/NAMESPACE.NAME.sqlite`, creating folder and file where they are missing, readable by their owner only.

    StateVersionError: a newer Headrace wrote it. CorruptDataError: it is no knowledge store. UnavailableError, DiskFullError: no
    access or no room.
    """
    return SqliteKnowledgeStore(options)
