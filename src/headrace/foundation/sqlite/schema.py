"""A kind of SQLite file: its application id, its table versions, and the migrations between them."""

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from headrace.foundation.errors import CorruptDataError, StateVersionError

Migration = Callable[[sqlite3.Connection], None]
"""Migrates the tables of one version to the next. Runs inside a transaction and must not end it."""
_ABOUT = "CREATE TABLE IF NOT EXISTS about(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID"


@dataclass(frozen=True, slots=True)
class Schema:
    """A kind of file. Versions count up from 1."""

    what: str
    """The noun for the file in errors, such as `the log`."""
    application_id: int
    """The application id in the file's header that identifies this kind of file."""
    version: int
    """The newest version that this Headrace supports, and the one it writes."""
    readable_since: str
    """The first Headrace that reads `version`; written into the file, so that an older one can name the version it needs."""
    tables: str
    """The statements that create an empty file of `version`."""
    migrations: Mapping[int, Migration] = field(default_factory=dict[int, Migration])
    """Keyed by the version each migration starts from. Versions without one are refused."""
    marked_since: int = 1
    """The first version whose files carry the application id."""
    damaged: str = "restore the file from a backup"
    """What to do about a damaged file, as an imperative sentence."""

    def create(self, connection: sqlite3.Connection) -> None:
        """Creates the tables in an empty file. Inside a transaction."""
        run(connection, _ABOUT)
        run(connection, self.tables)
        self._sign(connection)

    def migrate(self, connection: sqlite3.Connection, version: int, path: Path) -> None:
        """Migrates a file from an older version. Inside a transaction."""
        for step in range(version, self.version):
            if step not in self.migrations:
                raise self._too_old(version, path)
            self.migrations[step](connection)
        run(connection, _ABOUT)
        self._sign(connection)

    def check(self, connection: sqlite3.Connection, path: Path) -> int:
        """The file's version; 0 if empty. CorruptDataError: another kind of file. StateVersionError: a newer version."""
        version = user_version(connection)
        if version == 0:
            if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                raise self._foreign(path)
            return 0
        marked = connection.execute("PRAGMA application_id").fetchone()[0] == self.application_id
        if not marked and version >= self.marked_since:
            raise self._foreign(path)
        if version > self.version:
            raise self._newer(connection, version, path)
        return version

    def _sign(self, connection: sqlite3.Connection) -> None:
        connection.execute("INSERT OR REPLACE INTO about VALUES ('readable_since', ?)", (self.readable_since,))
        connection.execute(f"PRAGMA application_id={self.application_id}")
        connection.execute(f"PRAGMA user_version={self.version}")

    def _newer(self, connection: sqlite3.Connection, version: int, path: Path) -> StateVersionError:
        row = connection.execute("SELECT value FROM about WHERE name='readable_since'").fetchone()
        needed = f"Headrace {row[0]} or newer" if row else "a newer Headrace"
        return StateVersionError(
            f"{self.what} has schema {version}, but this Headrace supports schemas up to {self.version}",
            where=str(path),
            next_step=f"use {needed}, or another state directory",
        )

    def _too_old(self, version: int, path: Path) -> StateVersionError:
        return StateVersionError(
            f"{self.what} has schema {version}, which this Headrace no longer reads",
            where=str(path),
            next_step="open it once with the previous version of Headrace, or use another state directory",
        )

    def _foreign(self, path: Path) -> CorruptDataError:
        return CorruptDataError(
            f"this SQLite file is not Headrace's {self.what.removeprefix('the ')}",
            where=str(path),
            next_step="use another state directory",
        )


def user_version(connection: sqlite3.Connection) -> int:
    return connection.execute("PRAGMA user_version").fetchone()[0]


def run(connection: sqlite3.Connection, script: str) -> None:
    """Runs the statements of a script inside the open transaction, which `executescript` would end."""
    for statement in _statements(script):
        connection.execute(statement)


def _statements(script: str) -> Iterator[str]:
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement.strip():
        yield statement
