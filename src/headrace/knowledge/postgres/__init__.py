"""The knowledge store on PostgreSQL with pgvector ≥ 0.8: truth, vectors and terms in one schema per knowledge base.

May import the port, what all back ends share, and psycopg. Never: another back end, statements built from
user input (identifiers are quoted, values are bound), or a ranking not defined in `ranking.py`.
"""

from headrace.knowledge.store import KnowledgeStore, StoreOptions


def open_store(options: StoreOptions) -> KnowledgeStore:
    """Connects and prepares the schema.

    UnavailableError: the server does not answer; InvalidDeclarationError: no URL, a wrong password, no pgvector ≥ 0.8, no permission to create
    the schema; StateVersionError: a newer version wrote it.
    """
    from headrace.knowledge.postgres.postgres_store import PostgresStore

    return PostgresStore(options)
