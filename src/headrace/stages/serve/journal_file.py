"""The journal on disk: answers that the log has not taken yet, in the order in which they were given, in one SQLite file.

A write is one transaction and one fsync (`synchronous=FULL`); what it returned for survives the process and the machine. A
removal is not synced: what reappears after a power failure goes to the log again, where its id is known.
"""

import os
import sqlite3
import threading
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from headrace.foundation.errors import CorruptDataError, DiskFullError, UnavailableError
from headrace.foundation.resource_id import ResourceId
from headrace.log.record import NewRecord

FILE = "answers.sqlite"
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_SETTINGS = (
    "PRAGMA journal_mode=WAL", "PRAGMA auto_vacuum=INCREMENTAL", "PRAGMA secure_delete=ON", "PRAGMA journal_size_limit=1048576",
)  # fmt: skip
_TABLES = """
CREATE TABLE IF NOT EXISTS answers(
  number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, model TEXT NOT NULL, kind TEXT NOT NULL, event_time INTEGER NOT NULL,
  value BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS answers_id ON answers(id);
CREATE TABLE IF NOT EXISTS probe(name TEXT PRIMARY KEY, tries INTEGER NOT NULL);
INSERT OR IGNORE INTO probe VALUES ('disk', 0);
"""


@dataclass(frozen=True, slots=True)
class JournalledAnswer:
    """An answer on its way to the log."""

    model: ResourceId
    record: NewRecord
    number: int = 0
    """Its place in the file; grows, and is never used twice. 0: not written yet."""

    @property
    def bytes(self) -> int:
        return len(self.record.value)


class JournalFile:
    """Safe from several threads, and from two processes at once while one replaces the other.

    Errors: DiskFullError and UnavailableError (nothing changed; try again), CorruptDataError.
    """

    def __init__(self, state: Path) -> None:
        """Creates `STATE/answers.sqlite`, readable by its owner alone. A damaged file is moved aside: `damaged` is its new path."""
        self._path = state / FILE
        self._lock = threading.Lock()
        self.damaged: Path | None = None
        try:
            self._connection = self._open()
        except CorruptDataError:
            self.damaged = self._path.with_suffix(".damaged")
            self._path.replace(self.damaged)
            self._connection = self._open()

    def append(self, answers: Sequence[JournalledAnswer]) -> None:
        """Writes all of them, or none; returns when the disk has them. None: only finds out whether the disk takes anything."""
        rows = [(a.record.id, str(a.model), a.record.kind, a.record.event_time, a.record.value) for a in answers]
        with self._transaction("FULL") as connection:
            connection.executemany(
                "INSERT INTO answers(id, model, kind, event_time, value) VALUES (?, ?, ?, ?, ?)", rows
            )
            if not rows:
                connection.execute("UPDATE probe SET tries = tries + 1")

    def first(self, count: int, max_bytes: int) -> list[JournalledAnswer]:
        """The oldest answers, at least one where there is one."""
        found: list[JournalledAnswer] = []
        with self._translated():
            rows = self._connection.execute("SELECT * FROM answers ORDER BY number LIMIT ?", (count,))
            for number, name, model, kind, time, value in rows:
                found.append(
                    JournalledAnswer(ResourceId.parse(model), NewRecord(name, kind, value, time, key=name), number)
                )
                max_bytes -= len(value)
                if max_bytes <= 0:
                    break
            rows.close()
        return found

    def remove_up_to(self, number: int) -> None:
        """Forgets answers that the log has."""
        with self._transaction("NORMAL") as connection:
            connection.execute("DELETE FROM answers WHERE number <= ?", (number,))
            connection.execute("PRAGMA incremental_vacuum").fetchall()

    def holds(self, answer_id: str) -> bool:
        """Whether an answer waits here."""
        with self._translated():
            return bool(self._connection.execute("SELECT 1 FROM answers WHERE id = ?", (answer_id,)).fetchall())

    def sizes(self) -> tuple[Counter[ResourceId], int]:
        """Answers per model, and the bytes of all of them."""
        with self._translated():
            rows = self._connection.execute(
                "SELECT model, count(*), sum(length(value)) FROM answers GROUP BY 1"
            ).fetchall()
        return Counter({ResourceId.parse(model): count for model, count, _ in rows}), sum(row[2] for row in rows)

    def close(self) -> None:
        with self._translated():
            self._connection.close()

    def _open(self) -> sqlite3.Connection:
        with self._translated():
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
            connection = sqlite3.connect(self._path, timeout=30.0, isolation_level=None, check_same_thread=False)
            try:
                for setting in _SETTINGS:
                    connection.execute(setting).fetchall()
                connection.executescript(_TABLES)
                self._check(connection)
            except BaseException:
                connection.close()
                raise
        return connection

    def _check(self, connection: sqlite3.Connection) -> None:
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise CorruptDataError(f"the journal of answers is damaged: {found}", where=str(self._path))

    @contextmanager
    def _transaction(self, synchronous: str) -> Generator[sqlite3.Connection]:
        with self._translated():
            self._connection.execute(f"PRAGMA synchronous={synchronous}")
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _translated(self) -> Generator[None]:
        """One thread at a time; SQLite's errors leave it as those of the tree."""
        with self._lock:
            try:
                yield
            except (sqlite3.Error, OSError) as error:
                code = getattr(error, "sqlite_errorcode", 0) & 0xFF
                text, where = f"the journal of answers: {error}", str(self._path)
                if code in _DAMAGED:
                    raise CorruptDataError(text, where=where) from error
                if code == sqlite3.SQLITE_FULL:
                    raise DiskFullError(text, where=where, next_step="free disk space") from error
                raise UnavailableError(
                    text, where=where, next_step="check the disk and the folder's permissions"
                ) from error
