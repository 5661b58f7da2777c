"""One write transaction at a time: fenced, numbered, all or nothing."""

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock

from headrace.foundation.errors import FencedError, FinalError
from headrace.foundation.failpoints import failpoint
from headrace.knowledge.sqlite.database import Database
from headrace.knowledge.sqlite.terms import TermIds

_PAGES_AT_ONCE = 2_000


@dataclass(slots=True)
class Turn:
    """An open transaction."""

    connection: sqlite3.Connection
    seq: int
    """Its number: every row that it adds or whose interval it closes carries it."""
    terms: TermIds
    next_key: int

    def keys(self, count: int) -> range:
        """Keys never used before."""
        first, self.next_key = self.next_key, self.next_key + count
        return range(first, self.next_key)

    def key(self) -> int:
        return self.keys(1)[0]


class Writer:
    """The one connection that writes."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = Lock()
        self._connection: sqlite3.Connection | None = None
        self._terms = TermIds()
        self._closed = False

    def acquire(self, holder: str) -> int:
        """The next epoch, for `holder`."""
        with self._transaction("knowledge.acquire") as connection:
            rows = connection.execute(
                "UPDATE head SET epoch = epoch + 1, holder = ? RETURNING epoch", (holder,)
            ).fetchall()
            return rows[0][0]

    @contextmanager
    def turn(self, epoch: int, name: str) -> Generator[Turn]:
        """A transaction; FencedError if `epoch` is not the newest. An error inside rolls it back.

        `name`: the prefix of its failpoints, `NAME.before`, `NAME.within` and `NAME.after`.
        """
        with self._transaction(name) as connection:
            now, holder, seq, next_key = connection.execute("SELECT epoch, holder, seq, next_key FROM head").fetchone()
            if now != epoch:
                raise FencedError(
                    f"the writer of epoch {epoch} was replaced: {holder or 'nobody'} has held the knowledge store since epoch {now}",
                    where=str(self._database.path),
                )
            turn = Turn(connection, seq + 1, self._terms, next_key)
            yield turn
            connection.execute("UPDATE head SET seq = ?, next_key = ?", (turn.seq, turn.next_key))

    def give_back_room(self) -> None:
        """Truncates free pages from the file, a few at a time."""
        free = 0
        while True:
            with self._lock, self._database.file.translated():
                connection = self._open()
                before, free = free, connection.execute("PRAGMA freelist_count").fetchone()[0]
                if not free or free == before:
                    return
                connection.executescript(
                    f"PRAGMA incremental_vacuum({_PAGES_AT_ONCE})"
                )  # `execute` would free only one page

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    @contextmanager
    def _transaction(self, name: str) -> Generator[sqlite3.Connection]:
        with self._lock, self._database.file.translated():
            connection = self._open()
            failpoint(f"{name}.before")
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                failpoint(f"{name}.within")
                connection.execute("COMMIT")
            except BaseException:
                self._terms.undo()
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            self._terms.keep()
            failpoint(f"{name}.after")

    def _open(self) -> sqlite3.Connection:
        if self._closed:
            raise FinalError("the knowledge store is closed", where=str(self._database.path))
        if self._connection is None:
            self._connection = self._database.file.connect(writable=True)
        return self._connection
