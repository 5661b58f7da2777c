"""HNSW indexes are built once they are worth it, beside readers and the writer, when loading pauses.

An index that exists while rows are loaded makes loading several times slower than building it afterwards does; until it is
there, every vector is compared. A build that was interrupted leaves an invalid index, which the next one removes.

It takes milliseconds to add a vector to an index, more than a change may take to be found. So the index holds vectors that are
`settled`; those that came after it was built are fresh: a search compares them all, until a background transaction settles them.
"""

import logging
import threading

import psycopg
from psycopg import sql

from headrace.foundation.errors import HeadraceError
from headrace.knowledge.postgres.schema import vectors_index, vectors_table
from headrace.knowledge.postgres.server import Connection, Server

WORTHWHILE = 10_000
"""Vectors of a table, from which on it gets an index."""
MOST_DIMENSIONS = 2_000
"""Of pgvector's index over `vector`."""
FRESH = 500
"""Vectors that a search compares beside the index; more than that are settled."""
_LOADING = 256
"""Chunks of a batch, from which on more of the kind is expected."""
_STEP = 100
"""Vectors that one transaction settles."""
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
        """Looks whether there is something to do, now and then; an index is not begun while a load is under way."""
        self._loading = chunks >= _LOADING
        self._batches += 1
        self._chunks += chunks
        if self._chunks >= FRESH or self._batches % 64 == 1:
            self._chunks = 0
            self._start()

    def build_where_worthwhile(self) -> None:
        """Starts the thread where there is something to do, load or no load."""
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
        """Until what was started has ended."""
        thread = self._thread
        if thread is not None:
            thread.join()

    def close(self) -> None:
        """Cancels what runs: the next writer goes on with it."""
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
            if not self._closed:  # searches find all the same, only slower, and the next look tries again
                _log.warning("the vector index could not be updated: %s", error)

    def _settle(self, model: int) -> None:
        """A few at a time, oldest first, so that nobody waits long for it."""
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
            )  # or it plans as if half were fresh
        finally:
            with self._lock:
                self._connection = None
            connection.close()


def _only_one(connection: Connection, model: int) -> bool:
    """One process builds; all others find it built."""
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
    """About how many vectors there are: ids are given in a row."""
    row = connection.execute(
        sql.SQL("select coalesce(max(id) - min(id) + 1, 0) from {}").format(vectors_table(model))
    ).fetchone()
    return int(str(row[0])) if row else 0


def _fresh(connection: Connection, model: int) -> int:
    """How many are not settled; counts no further than is asked for."""
    row = connection.execute(
        sql.SQL("select count(*) from (select from {} where not settled limit %s) few").format(vectors_table(model)),
        (FRESH + 1,),
    ).fetchone()
    return int(str(row[0])) if row else 0
