"""The port's methods, each in one transaction."""

from collections.abc import Mapping, Sequence

from headrace.foundation.failpoints import failpoint
from headrace.knowledge.generation import Generation
from headrace.knowledge.postgres import generations, visible, writing
from headrace.knowledge.postgres import vectors as vector_tables
from headrace.knowledge.postgres.encoding import escaped, schema_name
from headrace.knowledge.postgres.indexing import IndexBuilder
from headrace.knowledge.postgres.schema import prepare
from headrace.knowledge.postgres.searching import search
from headrace.knowledge.postgres.server import Server
from headrace.knowledge.query import AsOf, ChangedDocument, Counts, Hit, StoreQuery, Vector
from headrace.knowledge.store import ApplyReport, Backfill, StoreBatch, StoredDocument, StoreOptions


class PostgresStore:
    """A KnowledgeStore."""

    def __init__(self, options: StoreOptions) -> None:
        self._server = Server(options.url, schema_name(options.id))
        self._indexes = IndexBuilder(self._server)
        try:
            prepare(self._server)
        except BaseException:
            self._server.close()
            raise

    def acquire(self, holder: str) -> int:
        with self._server.writing() as connection:
            epoch = writing.acquire(connection, holder)
        self._indexes.build_where_worthwhile()
        return epoch

    def offset(self, topic: str) -> int:
        with self._server.reading() as connection:
            row = connection.execute("select next_offset from offsets where topic = %s", (escaped(topic),)).fetchone()
        return int(str(row[0])) if row else 0

    def state(self, key: str) -> bytes | None:
        with self._server.reading() as connection:
            row = connection.execute("select value from state where key = %s", (escaped(key),)).fetchone()
        if row is None:
            return None
        assert isinstance(row[0], bytes)
        return row[0]

    def missing_vectors(self, model: str, hashes: Sequence[str]) -> list[str]:
        with self._server.reading() as connection:
            return vector_tables.missing(connection, model, hashes)

    def keep_vectors(self, epoch: int, model: str, vectors: Mapping[str, Vector]) -> None:
        failpoint("knowledge.keep_vectors.before")
        with self._server.writing() as connection:
            writing.fence(connection, epoch)
            vector_tables.keep(connection, model, vectors)
        failpoint("knowledge.keep_vectors.after")

    def apply(self, epoch: int, batch: StoreBatch) -> ApplyReport:
        failpoint("knowledge.apply.before")
        with self._server.writing() as connection:
            writing.fence(connection, epoch)
            report = writing.apply(connection, batch)
        failpoint("knowledge.apply.after")
        self._indexes.after_batch(report.chunks)
        return report

    def put_generation(self, epoch: int, generation: Generation) -> None:
        with self._server.writing() as connection:
            writing.fence(connection, epoch)
            generations.put(connection, generation)
        if generation.state == "active":
            self._indexes.build_where_worthwhile()

    def generations(self) -> list[Generation]:
        with self._server.reading() as connection:
            return generations.all_generations(connection)

    def drop_generation(self, epoch: int, generation: str) -> None:
        with self._server.writing() as connection:
            writing.fence(connection, epoch)
            generations.drop(connection, generation)

    def not_in_generation(self, generation: str, limit: int) -> list[StoredDocument]:
        with self._server.reading() as connection:
            return generations.not_in(connection, generation, limit)

    def backfill(self, epoch: int, generation: str, parts: Sequence[Backfill], vectors: Mapping[str, Vector]) -> None:
        failpoint("knowledge.backfill.before")
        with self._server.writing() as connection:
            writing.fence(connection, epoch)
            generations.backfill(connection, generation, parts, vectors)
        failpoint("knowledge.backfill.after")

    def purge(self, epoch: int, before_ms: int) -> int:
        with self._server.writing() as connection:
            writing.fence(connection, epoch)
            return writing.purge(connection, before_ms)

    def clear(self, epoch: int) -> None:
        failpoint("knowledge.clear.before")
        with self._server.writing() as connection:
            writing.fence(connection, epoch)
            generations.clear(connection)
        failpoint("knowledge.clear.after")

    def search(self, query: StoreQuery) -> list[Hit]:
        with self._server.reading() as connection:
            return search(connection, query)

    def counts(self, generation: str, as_of: AsOf) -> Counts:
        with self._server.reading() as connection:
            return visible.counts(connection, generation, as_of)

    def document(self, document: str, as_of: AsOf) -> StoredDocument | None:
        with self._server.reading() as connection:
            return visible.document(connection, document, as_of)

    def changed(self, after: AsOf, upto_ms: int) -> list[ChangedDocument]:
        with self._server.reading() as connection:
            return visible.changed(connection, after, upto_ms)

    def settle(self) -> None:
        """Builds the worthwhile vector indexes and waits for them; otherwise they are built in the background."""
        self._indexes.build_where_worthwhile()
        self._indexes.wait()

    def close(self) -> None:
        self._indexes.close()
        self._server.close()
