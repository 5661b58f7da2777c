"""Builds HNSW indexes once they are worth it, concurrently with readers and the writer, when loading pauses.

Loading rows into an existing index is several times slower than building the index afterwards; until it
exists, every vector is compared. An interrupted build leaves an invalid index, which the next build removes.

Adding a vector to an index takes milliseconds, too long for a change to become searchable. So the index holds only `settled`
vectors; those added after it was built are fresh: a search compares them all, until a background transaction settles them.
"""

import logging
import threading

import psycopg
from psycopg import sql

from headrace.foundation.errors import HeadraceError
from headrace.knowledge.postgres.schema import vectors_index, vectors_table
from headrace.knowledge.postgres.server import Connection, Server

WORTHWHILE = 10_000
"""Number of vectors from which a table gets an index."""
MOST_DIMENSIONS = 2_000
"""The limit of pgvector's index over `vector`."""
FRESH = 500
"""Fresh vectors that a search compares besides the index; more than that are settled."""
_LOADING = 256
"""A batch with at least this many chunks indicates a load in progress."""
_STEP = 100
"""Vectors settled per transaction."""
_LOCK = 0x6865_6164_0000_0000
_log = logging.getLogger(__name__)


class IndexBuilder:
    """One background thread at most."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._closed = False
        self._batches = 0
        self._chunks = 0
        self._loading = False

    def after_batch(self, chunks: int) -> None:
        """Checks from time to time whether there is work; starts no index build during a load."""
        self._loading = chunks >= _LOADING
        self._batches += 1
        self._chunks += chunks
        if self._chunks >= FRESH or self._batches % 64 == 1:
            self._chunks = 0
            self._start()

    def build_where_worthwhile(self) -> None:
        """Starts the thread if there is work, load or no load."""
        self._loading = False
        self._start()

    def _start(self) -> None:
        with self._lock:
            busy = self._thread is not None and self._thread.is_alive()
            if busy or self._closed or not self._wanted():
                return
            self._thread = threading.Thread(target=self._run, name="knowledge-index", daemon=True)
            self._thread.start()

    def wait(self) -> None:
        """Waits until the started work has ended."""
        thread = self._thread
        if thread is not None:
            thread.join()

    def close(self) -> None:
        """Cancels running work: the next writer resumes it."""
        with self._lock:
            self._closed = True
            connection = self._connection
        if connection is not None:
            connection.cancel_safe(timeout=5.0)
        self.wait()

    def _wanted(self) -> list[int]:
        with self._server.reading() as connection:
            rows = connection.execute("select id, dimension from models order by id").fetchall()
            models = [int(str(row[0])) for row in rows if int(str(row[1])) <= MOST_DIMENSIONS]
            return [
                one
                for one in models
                if (_fresh(connection, one) > FRESH)
                or (not self._loading and not _is_there(connection, one) and _size(connection, one) >= WORTHWHILE)
            ]

    def _run(self) -> None:
        try:
            for model in self._wanted():
                with self._server.reading() as connection:
                    there = _is_there(connection, model)
                if not there:
                    self._build(model)
                self._settle(model)
        except (psycopg.Error, HeadraceError) as error:
            if not self._closed:  # searches still work, only slower, and the next check retries
                _log.warning("the vector index could not be updated: %s", error)

    def _settle(self, model: int) -> None:
        """A few at a time, oldest first, so that locks are short."""
        table = vectors_table(model)
        statement = sql.SQL(
            "update {table} set settled = true where id in"
            " (select id from {table} where not settled order by id limit %s for update skip locked)"
        ).format(table=table)
        moved = _STEP
        while moved == _STEP and not self._closed:
            with self._server.writing() as connection:
                moved = connection.execute(statement, (_STEP,)).rowcount

    def _build(self, model: int) -> None:
        connection = self._server.connect()
        try:
            with self._lock:
                if self._closed:
                    return
                self._connection = connection
            if not _only_one(connection, model):
                return
            name, table = vectors_index(model), vectors_table(model)
            connection.execute("set maintenance_work_mem = '512MB'")
            connection.execute(sql.SQL("drop index concurrently if exists {}").format(name))
            connection.execute(
                sql.SQL("create index concurrently {} on {} using hnsw (vector vector_ip_ops) where settled").format(
                    name, table
                )
            )
            connection.execute(
                sql.SQL("analyze {}, chunks, versions").format(table)
            )  # otherwise it plans as if half were fresh
        finally:
            with self._lock:
                self._connection = None
            connection.close()


def _only_one(connection: Connection, model: int) -> bool:
    """One process builds; the others find it built."""
    row = connection.execute(
        "select pg_try_advisory_lock(hashtextextended(current_schema(), %s))", (_LOCK + model,)
    ).fetchone()
    return row is not None and bool(row[0]) and not _is_there(connection, model)


def _is_there(connection: Connection, model: int) -> bool:
    row = connection.execute(
        "select indisvalid from pg_index where indexrelid = to_regclass(%s)",
        (vectors_index(model).as_string(connection),),
    ).fetchone()
    return row is not None and bool(row[0])


def _size(connection: Connection, model: int) -> int:
    """The approximate number of vectors: ids are nearly consecutive."""
    row = connection.execute(
        sql.SQL("select coalesce(max(id) - min(id) + 1, 0) from {}").format(vectors_table(model))
    ).fetchone()
    return int(str(row[0])) if row else 0


def _fresh(connection: Connection, model: int) -> int:
    """How many are unsettled; counts only as far as needed."""
    row = connection.execute(
        sql.SQL("select count(*) from (select from {} where not settled limit %s) few").format(vectors_table(model)),
        (FRESH + 1,),
    ).fetchone()
    return int(str(row[0])) if row else 0
