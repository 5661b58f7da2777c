"""Opens an SQLite file: private, of the right kind and version, durable, with a write-ahead log."""

import sqlite3
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from headrace.foundation.clock import SYSTEM_CLOCK
from headrace.foundation.errors import HeadraceError, UnavailableError
from headrace.foundation.sqlite.errors import translate, translated
from headrace.foundation.sqlite.privacy import make_private
from headrace.foundation.sqlite.schema import Schema

BUSY_SECONDS = 30.0
"""How long SQLite waits for another writer before it gives up."""
_AGAIN_SECONDS = 0.005
_SETTINGS = (
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=OFF",
    "PRAGMA secure_delete=FAST",  # freed pages leave with the file's end; writing zeros into them first would double the work
    "PRAGMA journal_size_limit=67108864",
)


class SqliteFile:
    """One file of one kind."""

    def __init__(self, path: Path, schema: Schema, settings: Sequence[str] = ()) -> None:
        """`settings`: pragmas for every connection, in addition to the shared ones."""
        self.path = path
        self.schema = schema
        self._settings = (*_SETTINGS, *settings)

    def prepare(self) -> None:
        """Creates or migrates the file. Safe to run in several processes at once.

        StateVersionError: a newer Headrace wrote it. CorruptDataError: another kind of file, or damaged. UnavailableError,
        DiskFullError: no access or no space. InvalidDeclarationError: all users share the directory.
        """
        with self.translated():
            make_private(self.path)
            with closing(sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None)) as connection:
                version = self._version(connection)
                if version == 0:
                    connection.execute("PRAGMA page_size=8192")
                    connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
                if version < self.schema.version:
                    self._write_ahead(connection)
                    self._bring_forward(connection)

    def connect(self, *, writable: bool = False) -> sqlite3.Connection:
        """A connection in autocommit mode, usable from any one thread at a time."""
        connection = sqlite3.connect(
            self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        for setting in (*self._settings, f"PRAGMA query_only={'OFF' if writable else 'ON'}"):
            connection.execute(setting)
        return connection

    @contextmanager
    def translated(self) -> Generator[None]:
        """Maps SQLite and file system errors raised inside to Headrace errors."""
        with translated(self.path, self.schema):
            yield

    def translate(self, error: Exception) -> HeadraceError:
        """The Headrace error for an SQLite or file system error."""
        return translate(error, self.path, self.schema)

    def size(self) -> int:
        """Bytes on disk: the file plus its write-ahead log."""
        return self.path.stat().st_size + self.wal_size()

    def wal_size(self) -> int:
        """Size of the write-ahead log in bytes."""
        try:
            return self.path.with_name(f"{self.path.name}-wal").stat().st_size
        except FileNotFoundError:
            return 0

    def _version(self, connection: sqlite3.Connection) -> int:
        connection.execute("BEGIN")  # one view of the file: another process may be creating its tables
        try:
            return self.schema.check(connection, self.path)
        finally:
            connection.execute("ROLLBACK")

    def _write_ahead(self, connection: sqlite3.Connection) -> None:
        if self._journal_mode(connection) != "wal":
            raise UnavailableError(
                f"this file system cannot hold {self.schema.what}: it does not support shared memory or locks",
                where=str(self.path),
                next_step="put the state directory on a local disk",
            )

    @staticmethod
    def _journal_mode(connection: sqlite3.Connection) -> str:
        """Asks for a write-ahead log; the mode that SQLite gives. SQLite does not wait here for a process that is opening the file too."""
        deadline = SYSTEM_CLOCK.monotonic() + BUSY_SECONDS
        while True:
            try:
                return connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or SYSTEM_CLOCK.monotonic() > deadline:
                    raise
            SYSTEM_CLOCK.sleep(_AGAIN_SECONDS)

    def _bring_forward(self, connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        try:
            version = self.schema.check(connection, self.path)  # check again: another process may have been faster
            if version == 0:
                self.schema.create(connection)
            elif version < self.schema.version:
                self.schema.migrate(connection, version, self.path)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
