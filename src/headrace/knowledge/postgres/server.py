"""Connections to the server, transactions on them, and the mapping of its errors."""

import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from headrace.foundation.errors import (
    CorruptDataError,
    DiskFullError,
    HeadraceError,
    InvalidDeclarationError,
    UnavailableError,
)

Connection = psycopg.Connection[tuple[object, ...]]
CONNECT_SECONDS = 5
_KEPT_IDLE = 8
_READ = b"begin isolation level repeatable read read only"
_WRITE = b"begin isolation level read committed"


class Server:
    """A small pool: a thread takes a connection for one transaction. Broken ones are replaced."""

    def __init__(self, url: str, schema: str) -> None:
        """InvalidDeclarationError if the URL is not a PostgreSQL URL. Does not connect yet."""
        if urlsplit(url).scheme not in {"postgresql", "postgres"}:
            raise InvalidDeclarationError(
                "the knowledge store `postgres` needs a server's URL",
                where="settings: knowledge",
                next_step="set it to postgresql://USER:PASSWORD@HOST:PORT/DATABASE",
            )
        self._url, self.schema = url, schema
        self._idle: list[Connection] = []
        self._lock = threading.Lock()
        self._closed = False

    @property
    def where(self) -> str:
        """The server's address, without user and password."""
        parts = urlsplit(self._url)
        return f"postgresql://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path}"

    @contextmanager
    def reading(self) -> Generator[Connection]:
        """One snapshot."""
        with self._transaction(_READ) as connection:
            yield connection

    @contextmanager
    def writing(self) -> Generator[Connection]:
        """Commits at the end; rolls back on any error."""
        with self._transaction(_WRITE) as connection:
            yield connection

    def connect(self) -> Connection:
        """A connection outside the pool; each statement is a transaction. The caller closes it."""
        with self._translated():
            connection = psycopg.connect(
                self._url, autocommit=True, connect_timeout=CONNECT_SECONDS, application_name="headrace",
                client_encoding="utf8",
            )  # fmt: skip
            try:
                connection.execute(_SEARCH_PATH, (self.schema,))
            except BaseException:
                connection.close()
                raise
            return connection

    def close(self) -> None:
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    @contextmanager
    def _transaction(self, begin: bytes) -> Generator[Connection]:
        with self._translated():
            connection = self._begun(begin)
            try:
                yield connection
                connection.execute(b"commit")
            except BaseException:
                with suppress(psycopg.Error):  # the first error is the one to report
                    connection.execute(b"rollback")
                raise
            finally:
                self._give_back(connection)

    def _begun(self, begin: bytes) -> Connection:
        """An idle connection may have died: nothing was sent on it yet, so a new one replaces it."""
        with self._lock:
            if self._closed:
                raise UnavailableError("the knowledge store is closed", where=self.where, next_step="open it again")
            connection = self._idle.pop() if self._idle else None
        if connection is not None:
            try:
                connection.execute(begin)
                return connection
            except psycopg.OperationalError:
                connection.close()
                self._forget_idle()
        connection = self.connect()
        connection.execute(begin)
        return connection

    def _forget_idle(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for one in idle:
            one.close()

    def _give_back(self, connection: Connection) -> None:
        status = psycopg.pq.TransactionStatus.IDLE
        with self._lock:
            keep = not self._closed and len(self._idle) < _KEPT_IDLE and connection.info.transaction_status == status
            if keep:
                self._idle.append(connection)
        if not keep:
            connection.close()

    @contextmanager
    def _translated(self) -> Generator[None]:
        try:
            yield
        except psycopg.Error as error:
            raise _meaning(error, self.where) from error


_SEARCH_PATH = sql.SQL(
    """select set_config('jit', 'off', false), set_config('search_path', concat_ws(', ', quote_ident(%s),
       (select quote_ident(n.nspname) from pg_extension e join pg_namespace n on n.oid = e.extnamespace
        where e.extname = 'vector'), 'public'), false)"""
)


def _meaning(error: psycopg.Error, where: str) -> HeadraceError:
    """By SQLSTATE: https://www.postgresql.org/docs/current/errcodes-appendix.html; without one, the connection failed."""
    state, words = error.sqlstate or "", _first_line(error)
    if state == "53100":
        return DiskFullError(
            f"the server's disk is full: {words}", where=where, next_step="free some disk space on the server"
        )
    if state.startswith("28") or "password authentication failed" in words or "no password supplied" in words:
        return InvalidDeclarationError(
            f"the server rejected the login: {words}",
            where=where,
            next_step="check the user and password in the store's URL",
        )
    if state == "3D000" or (not state and 'database "' in words and "does not exist" in words):
        return InvalidDeclarationError(words, where=where, next_step="create the database, or use another in the URL")
    if state == "42501":
        return InvalidDeclarationError(
            f"the user lacks a permission: {words}", where=where, next_step="grant it CREATE on the database"
        )
    if state.startswith(("54", "22")):
        return InvalidDeclarationError(f"the server cannot store this: {words}", where=where)
    if state.startswith(("3F", "42")) or isinstance(error, psycopg.errors.DataCorrupted):
        return CorruptDataError(
            f"the store's tables have been altered: {words}",
            where=where,
            next_step="restore them from a backup",
        )
    return UnavailableError(
        f"PostgreSQL did not answer: {words}", where=where, next_step="check that the server is running and reachable"
    )


def _first_line(error: psycopg.Error) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
