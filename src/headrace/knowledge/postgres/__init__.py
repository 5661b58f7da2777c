"""The knowledge store on PostgreSQL with pgvector ≥ 0.8: truth, vectors and terms in one schema per knowledge base.

May import the port and what all back ends share, and psycopg in its files. Never here: another back end, statements made of
given words (identifiers are quoted, values are bound), a rank that the definitions in `ranking.py` do not give.
"""

from headrace.knowledge.store import KnowledgeStore, StoreOptions


def open_store(options: StoreOptions) -> KnowledgeStore:
    """Connects and prepares the schema.

    UnavailableError: no server answers; InvalidDeclarationError: no URL, a wrong password, no pgvector ≥ 0.8, no right to create
    the schema; StateVersionError: a newer version wrote it.
    """
    from headrace.knowledge.postgres.postgres_store import PostgresStore

    return PostgresStore(options)
