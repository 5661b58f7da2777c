"""Answers, reservations and spending of all finetuners, in one SQLite file of their own.

A reservation is committed before a call and settled when the answer arrives; between the two it counts as spent, also
when its process has died since (the provider may bill what nobody received). Money is counted in whole nano-dollars.

Several processes may use one file. Within a process the commits of concurrent asks are grouped: while one transaction
is being written by a thread, the next one collects.

Answers remember the document versions that their prompts were made from. Which version of a document holds is kept for each
finetuner apart: one that replays history still learns from versions that another has left behind.
"""

import asyncio
import json
import sqlite3
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from headrace.foundation.failpoints import failpoint
from headrace.foundation.sqlite import Schema, SqliteFile, run
from headrace.teachers.teacher import BudgetSpentError

_TABLES = """
CREATE TABLE answers (
  id INTEGER PRIMARY KEY, key TEXT NOT NULL, finetuner TEXT NOT NULL, ask_id TEXT NOT NULL, text TEXT NOT NULL,
  model TEXT NOT NULL, input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, nano_usd INTEGER NOT NULL,
  answered_at_ms INTEGER NOT NULL);
CREATE INDEX answers_by_key ON answers (key, id);
CREATE INDEX answers_by_ask ON answers (finetuner, ask_id, key) WHERE ask_id <> '';
CREATE TABLE reservations (
  id INTEGER PRIMARY KEY AUTOINCREMENT, finetuner TEXT NOT NULL, input_tokens INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL, nano_usd INTEGER NOT NULL, reserved_at_ms INTEGER NOT NULL);
CREATE TABLE spending (
  finetuner TEXT PRIMARY KEY, calls INTEGER NOT NULL DEFAULT 0, cached INTEGER NOT NULL DEFAULT 0,
  input_tokens INTEGER NOT NULL DEFAULT 0, output_tokens INTEGER NOT NULL DEFAULT 0,
  nano_usd INTEGER NOT NULL DEFAULT 0, open_reservations INTEGER NOT NULL DEFAULT 0,
  open_tokens INTEGER NOT NULL DEFAULT 0, open_nano_usd INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
"""
_CITATIONS = """
CREATE TABLE citations (
  document TEXT NOT NULL, version TEXT NOT NULL, answer_id INTEGER NOT NULL,
  PRIMARY KEY (document, version, answer_id)) WITHOUT ROWID;
CREATE INDEX citations_by_answer ON citations (answer_id);
CREATE TABLE current_versions (
  finetuner TEXT NOT NULL, document TEXT NOT NULL, version TEXT, PRIMARY KEY (finetuner, document)) WITHOUT ROWID;
"""
_FROM_1 = """
DELETE FROM answers WHERE id IN (SELECT answer_id FROM citations);
DROP TABLE citations;
DROP TABLE forgotten;
"""
SCHEMA = Schema(
    what="the store of answers",
    application_id=0x48524154,  # 'HRAT'
    version=3,
    readable_since="0.2.0",
    tables=_TABLES + _CITATIONS,
    migrations={1: lambda db: run(db, _FROM_1 + _CITATIONS), 2: lambda _: None},
    marked_since=3,
    damaged="move the file away: cached answers and the record of spending go with it",
)
"""Version 3 holds what version 2 held; its files carry the mark."""
_ANSWER_COLUMNS = "text, model, input_tokens, output_tokens, nano_usd"

Result = TypeVar("Result")
Cite = tuple[str, str]
"""A document and its version."""
Work = Callable[[sqlite3.Connection], object]


@dataclass(frozen=True, slots=True)
class Cost:
    """Tokens, and nano-dollars."""

    input_tokens: int
    output_tokens: int
    nano_usd: int


@dataclass(frozen=True, slots=True)
class Budget:
    """What one finetuner may spend, ever; 0: no limit."""

    tokens: int = 0
    nano_usd: int = 0


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """An answer with what it cost."""

    text: str
    model: str
    cost: Cost


@dataclass(frozen=True, slots=True)
class AskRecord:
    """Which ask an answer belongs to."""

    key: str
    """Hash of the prompt, as the cache knows it."""
    finetuner: str
    ask_id: str = ""
    cites: tuple[Cite, ...] = ()
    """Document versions that the prompt was made from."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """An open reservation."""

    id: int
    finetuner: str
    cost: Cost


@dataclass(frozen=True, slots=True)
class Spending:
    """What a finetuner's teacher has cost; open reservations stand beside, at their upper estimate."""

    calls: int = 0
    cached: int = 0
    """Asks that were answered from the cache."""
    input_tokens: int = 0
    output_tokens: int = 0
    usd: float = 0.0
    open_reservations: int = 0
    open_tokens: int = 0
    open_usd: float = 0.0


class AnswerStore:
    """Opened on `STATE/teachers.sqlite`; used from one event loop."""

    def __init__(self, path: Path, *, executor: Executor | None = None) -> None:
        """Creates the file where it is missing. `executor` runs the transactions; by default a thread of its own.

        StateVersionError, CorruptDataError, DiskFullError or UnavailableError where it cannot be opened.
        """
        self._file = SqliteFile(path, SCHEMA)
        self._own_executor = executor is None
        self._executor = executor or ThreadPoolExecutor(1, thread_name_prefix="answer-store")
        self._waiting: list[tuple[Work, asyncio.Future[Any]]] = []
        self._writing: asyncio.Task[None] | None = None
        self._closed = False
        self._file.prepare()
        with self._file.translated():
            self._writer = self._file.connect(writable=True)
            self._reader = self._file.connect()

    def given(self, ask: AskRecord) -> StoredAnswer | None:
        """The answer that this very ask (finetuner, ask_id, prompt) has paid for already."""
        if not ask.ask_id:
            return None
        return self._read_answer(
            f"SELECT {_ANSWER_COLUMNS} FROM answers WHERE finetuner = ? AND ask_id = ? AND key = ? AND ask_id <> '' ORDER BY id DESC LIMIT 1",
            (ask.finetuner, ask.ask_id, ask.key),
        )

    def cached(self, ask: AskRecord) -> StoredAnswer | None:
        """The newest answer to this prompt, whoever asked; none to a prompt made from a version that no longer holds for its finetuner."""
        if ask.cites and self._read(_OUTDATED, (ask.finetuner, json.dumps(ask.cites))):
            return None
        return self._read_answer(
            f"SELECT {_ANSWER_COLUMNS} FROM answers WHERE key = ? ORDER BY id DESC LIMIT 1", (ask.key,)
        )

    def spent(self, finetuner: str) -> Spending:
        """What this finetuner has spent, all processes together."""
        row = self._read(
            "SELECT calls, cached, input_tokens, output_tokens, nano_usd, open_reservations, open_tokens, open_nano_usd "
            "FROM spending WHERE finetuner = ?",
            (finetuner,),
        )
        if row is None:
            return Spending()
        calls, cached, inputs, outputs, nano_usd, count, tokens, open_nano_usd = row
        return Spending(calls, cached, inputs, outputs, nano_usd / 1e9, count, tokens, open_nano_usd / 1e9)

    async def count_cached(self, finetuner: str) -> None:
        """One more ask was answered from the cache."""
        await self._submit(lambda db: _add(db, finetuner, cached=1))

    async def reserve(self, finetuner: str, cost: Cost, budget: Budget, now_ms: int) -> Reservation:
        """Commits that up to `cost` may be spent; BudgetSpentError where that, with all that is open, passes the budget."""
        failpoint("teacher.reserve.before")
        future = self._enqueue(lambda db: _reserve(db, finetuner, cost, budget, now_ms))
        try:
            reservation = await asyncio.shield(future)
        except asyncio.CancelledError:
            future.add_done_callback(self._take_back)
            raise
        failpoint("teacher.reserve.after")
        if isinstance(reservation, BudgetSpentError):
            raise reservation
        return reservation

    async def release(self, reservation: Reservation) -> None:
        """Nothing was spent."""
        await self._submit(lambda db: _close(db, reservation))

    async def charge(self, reservation: Reservation, cost: Cost) -> None:
        """The call cost this much, and no answer came of it."""
        await self._submit(lambda db: _charge(db, reservation, cost))

    async def settle(self, reservation: Reservation, ask: AskRecord, answer: StoredAnswer, now_ms: int) -> None:
        """Replaces the reservation by the true cost, and keeps the answer unless it cites a version that no longer holds."""
        failpoint("teacher.answer.before")

        def work(db: sqlite3.Connection) -> None:
            _charge(db, reservation, answer.cost)
            _keep(db, ask, answer, now_ms)

        await self._submit(work)
        failpoint("teacher.answer.after")

    async def renew(self, finetuner: str, versions: Mapping[str, str | None]) -> int:
        """From now on these versions hold for the finetuner, by document; None: the document is gone.

        Deletes its answers made from any other version of them, and keeps none in future; how many there were.
        """
        failpoint("teacher.renew.before")
        deleted = await self._submit(lambda db: _renew(db, finetuner, versions))
        failpoint("teacher.renew.after")
        return deleted

    async def close(self) -> None:
        """Writes what waits, then closes the file."""
        if self._closed:
            return
        while self._writing is not None:
            await asyncio.wait([self._writing])
        self._closed = True
        if self._own_executor:
            self._executor.shutdown()
        self._reader.close()
        self._writer.close()

    def _take_back(self, future: "asyncio.Future[Any]") -> None:
        """The asker went away between asking for a reservation and getting it: no call was made."""
        if not future.cancelled() and future.exception() is None and isinstance(future.result(), Reservation):
            reservation = cast("Reservation", future.result())
            self._enqueue(lambda db: _close(db, reservation)).add_done_callback(_looked_at)

    async def _submit(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """Runs the work in the next transaction, also when the caller goes away meanwhile."""
        return await asyncio.shield(self._enqueue(work))

    def _enqueue(self, work: Callable[[sqlite3.Connection], Result]) -> "asyncio.Future[Result]":
        if self._closed:
            raise RuntimeError("the answer store is closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        future.add_done_callback(_looked_at)
        self._waiting.append((work, future))
        if self._writing is None:
            self._writing = loop.create_task(self._write())
        return future

    async def _write(self) -> None:
        """Commits what waits, and what has come meanwhile, until nothing is left."""
        loop = asyncio.get_running_loop()
        while self._waiting:
            group, self._waiting = self._waiting, []
            try:
                results = await loop.run_in_executor(self._executor, self._commit, [work for work, _ in group])
            except Exception as error:  # noqa: BLE001 every asker must hear of it, whatever it was
                for _, future in group:
                    future.set_exception(error)
            else:
                for (_, future), result in zip(group, results, strict=True):
                    future.set_result(result)
        self._writing = None

    def _commit(self, group: list[Work]) -> list[object]:
        """One transaction for the whole group."""
        with self._file.translated():
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                results = [work(self._writer) for work in group]
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise
        return results

    def _read_answer(self, query: str, parameters: tuple[str, ...]) -> StoredAnswer | None:
        row = self._read(query, parameters)
        return None if row is None else StoredAnswer(row[0], row[1], Cost(row[2], row[3], row[4]))

    def _read(self, query: str, parameters: tuple[str, ...]) -> tuple[Any, ...] | None:
        with self._file.translated():
            return self._reader.execute(query, parameters).fetchone()


def _reserve(
    db: sqlite3.Connection, finetuner: str, cost: Cost, budget: Budget, now_ms: int
) -> Reservation | BudgetSpentError:
    row = db.execute(
        "SELECT input_tokens + output_tokens + open_tokens, nano_usd + open_nano_usd FROM spending WHERE finetuner = ?",
        (finetuner,),
    ).fetchone()
    tokens, nano_usd = row or (0, 0)
    wanted = cost.input_tokens + cost.output_tokens
    if budget.tokens and tokens + wanted > budget.tokens:
        return _budget_spent(finetuner, f"{tokens:,} of {budget.tokens:,} tokens", f"{wanted:,} tokens")
    if budget.nano_usd and nano_usd + cost.nano_usd > budget.nano_usd:
        spent, limit = nano_usd / 1e9, budget.nano_usd / 1e9
        return _budget_spent(finetuner, f"{spent:.4f} of {limit:.4f} USD", f"{cost.nano_usd / 1e9:.6f} USD")
    cursor = db.execute(
        "INSERT INTO reservations (finetuner, input_tokens, output_tokens, nano_usd, reserved_at_ms) VALUES (?, ?, ?, ?, ?)",
        (finetuner, cost.input_tokens, cost.output_tokens, cost.nano_usd, now_ms),
    )
    _add(db, finetuner, open_reservations=1, open_tokens=wanted, open_nano_usd=cost.nano_usd)
    return Reservation(cast("int", cursor.lastrowid), finetuner, cost)


def _budget_spent(finetuner: str, spent: str, wanted: str) -> BudgetSpentError:
    return BudgetSpentError(
        f"the budget is used up: {spent} are spent or reserved, and the next call may take {wanted}",
        where=f"StreamFinetuner/{finetuner}: spec.teacher.budget",
        next_step="raise spec.teacher.budget",
    )


def _close(db: sqlite3.Connection, reservation: Reservation) -> bool:
    """Whether it was still open."""
    if db.execute("DELETE FROM reservations WHERE id = ?", (reservation.id,)).rowcount == 0:
        return False
    tokens = reservation.cost.input_tokens + reservation.cost.output_tokens
    _add(
        db,
        reservation.finetuner,
        open_reservations=-1,
        open_tokens=-tokens,
        open_nano_usd=-reservation.cost.nano_usd,
    )
    return True


def _charge(db: sqlite3.Connection, reservation: Reservation, cost: Cost) -> None:
    if _close(db, reservation):
        _add(
            db,
            reservation.finetuner,
            calls=1,
            input_tokens=cost.input_tokens,
            output_tokens=cost.output_tokens,
            nano_usd=cost.nano_usd,
        )


def _keep(db: sqlite3.Connection, ask: AskRecord, answer: StoredAnswer, now_ms: int) -> None:
    cites = json.dumps(ask.cites)
    if ask.cites and db.execute(_OUTDATED, (ask.finetuner, cites)).fetchone():
        return
    cost = answer.cost
    cursor = db.execute(
        "INSERT INTO answers (key, finetuner, ask_id, text, model, input_tokens, output_tokens, nano_usd, answered_at_ms) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            ask.key, ask.finetuner, ask.ask_id, answer.text, answer.model,
            cost.input_tokens, cost.output_tokens, cost.nano_usd, now_ms,
        ),
    )  # fmt: skip
    if ask.cites:
        db.execute(
            "INSERT OR IGNORE INTO citations (document, version, answer_id) "
            "SELECT value ->> 0, value ->> 1, ? FROM json_each(?)",
            (cursor.lastrowid, cites),
        )


_OUTDATED = """
SELECT 1 FROM current_versions AS now, json_each(?2) AS cite
WHERE now.finetuner = ?1 AND now.document = cite.value ->> 0 AND now.version IS NOT cite.value ->> 1 LIMIT 1
"""
"""Whether any of the citations (JSON: [[document, version], …]) no longer holds for the finetuner."""


def _renew(db: sqlite3.Connection, finetuner: str, versions: Mapping[str, str | None]) -> int:
    wanted = json.dumps(list(versions.items()))
    db.execute(
        "INSERT INTO current_versions (finetuner, document, version) "
        "SELECT ?, value ->> 0, value ->> 1 FROM json_each(?) WHERE true "
        "ON CONFLICT (finetuner, document) DO UPDATE SET version = excluded.version",
        (finetuner, wanted),
    )
    found = db.execute(
        "SELECT DISTINCT c.answer_id FROM json_each(?1) AS changed JOIN citations AS c ON c.document = changed.value ->> 0 "
        "JOIN answers AS a ON a.id = c.answer_id WHERE a.finetuner = ?2 AND c.version IS NOT changed.value ->> 1",
        (wanted, finetuner),
    )
    ids = json.dumps([row[0] for row in found])
    db.execute("DELETE FROM citations WHERE answer_id IN (SELECT value FROM json_each(?))", (ids,))
    return db.execute("DELETE FROM answers WHERE id IN (SELECT value FROM json_each(?))", (ids,)).rowcount


def _add(db: sqlite3.Connection, finetuner: str, **changes: int) -> None:
    names = ", ".join(changes)
    marks = ", ".join("?" * len(changes))
    sums = ", ".join(f"{name} = {name} + excluded.{name}" for name in changes)
    db.execute(
        f"INSERT INTO spending (finetuner, {names}) VALUES (?, {marks}) ON CONFLICT (finetuner) DO UPDATE SET {sums}",
        (finetuner, *changes.values()),
    )


def _looked_at(future: "asyncio.Future[Any]") -> None:
    """Marks an error as seen: its asker may have gone away, and asyncio would report it as lost."""
    if not future.cancelled():
        future.exception()
