"""Teachers' answers: every final outcome of a paid call, so that nothing is asked and billed twice.

An outcome belongs to its ask (owner and ask id) until the ask's prompt is committed. An answer also serves other
asks with the same key. The key covers everything an answer depends on, so equal keys mean the same question to the same teacher in the
same namespace. Refusals and unusable answers serve only their own ask: a replay asks again.

Answers record the document versions in their prompts. The current version of a document is tracked per owner:
an owner that replays history still learns from versions that others have moved past.
"""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from headrace.foundation.resource_id import ResourceId
from headrace.teachers.ledger import Cost
from headrace.teachers.teacher import AnsweredError, RefusedError, UnusableAnswerError

Cite = tuple[str, str]
"""A document and its version."""
Outcome = Literal["answer", "refused", "unusable"]
PRUNED_AT_ONCE = 5_000
WITHOUT_PLACE_KEPT_MS = 86_400_000
"""Minimum time to keep the answer of an ask that has no position in a topic."""
NO_PLACE = -1


@dataclass(frozen=True, slots=True)
class Keep:
    """How long and how many of an owner's answers are kept once their prompts are committed."""

    age_ms: int = 90 * 86_400_000
    bytes: int = 2**30
    """Bytes of text, counted from the newest."""


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """An answer and its cost."""

    text: str
    model: str
    cost: Cost


@dataclass(frozen=True, slots=True)
class AskRecord:
    """The ask that an outcome belongs to."""

    key: str
    """Hash of everything the answer depends on."""
    owner: ResourceId
    ask_id: str = ""
    cites: tuple[Cite, ...] = ()
    """Document versions used in the prompt."""
    place: int = NO_PLACE
    """The prompt's offset in its topic."""


def given(db: sqlite3.Connection, ask: AskRecord) -> StoredAnswer | AnsweredError | None:
    """The outcome that this ask (owner, ask id, prompt) has already paid for."""
    if not ask.ask_id:
        return None
    row = db.execute(
        "SELECT outcome, text, model, input_tokens, output_tokens, nano_usd FROM answers "
        "WHERE owner = ? AND ask_id = ? AND key = ? AND ask_id <> '' ORDER BY id DESC LIMIT 1",
        (str(ask.owner), ask.ask_id, ask.key),
    ).fetchone()
    if row is None:
        return None
    return _answer(row[1:]) if row[0] == "answer" else _error(row[0], row[1])


def cached(db: sqlite3.Connection, ask: AskRecord) -> StoredAnswer | None:
    """The newest answer under this key; None if the prompt used a version that is no longer current for its owner."""
    if ask.cites and db.execute(_OUTDATED, (str(ask.owner), json.dumps(ask.cites))).fetchone():
        return None
    row = db.execute(
        "SELECT text, model, input_tokens, output_tokens, nano_usd FROM answers "
        "WHERE key = ? AND outcome = 'answer' ORDER BY id DESC LIMIT 1",
        (ask.key,),
    ).fetchone()
    return None if row is None else _answer(row)


def keep_answer(db: sqlite3.Connection, ask: AskRecord, answer: StoredAnswer, now_ms: int) -> None:
    """Stores the answer unless it cites an outdated version."""
    cites = json.dumps(ask.cites)
    if ask.cites and db.execute(_OUTDATED, (str(ask.owner), cites)).fetchone():
        return
    row_id = _insert(db, ask, "answer", answer, now_ms)
    if ask.cites:
        db.execute(
            "INSERT OR IGNORE INTO citations (document, version, answer_id) "
            "SELECT value ->> 0, value ->> 1, ? FROM json_each(?)",
            (row_id, cites),
        )


def keep_error(db: sqlite3.Connection, ask: AskRecord, error: AnsweredError, cost: Cost, now_ms: int) -> None:
    """Stores a refusal or an unusable answer for its ask; without an ask id it could never be found."""
    if ask.ask_id:
        outcome: Outcome = "refused" if isinstance(error, RefusedError) else "unusable"
        said = json.dumps([error.message, error.where, error.next_step])
        _insert(db, ask, outcome, StoredAnswer(said, "", cost), now_ms)


def renew(db: sqlite3.Connection, owner: ResourceId, versions: Mapping[str, str | None]) -> int:
    """Sets the owner's current versions (None: the document was deleted). Deletes its answers based on others; returns how many."""
    wanted = json.dumps(list(versions.items()))
    db.execute(
        "INSERT INTO current_versions (owner, document, version) "
        "SELECT ?, value ->> 0, value ->> 1 FROM json_each(?) WHERE true "
        "ON CONFLICT (owner, document) DO UPDATE SET version = excluded.version",
        (str(owner), wanted),
    )
    found = db.execute(
        "SELECT DISTINCT c.answer_id FROM json_each(?1) AS changed JOIN citations AS c ON c.document = changed.value ->> 0 "
        "JOIN answers AS a ON a.id = c.answer_id WHERE a.owner = ?2 AND c.version IS NOT changed.value ->> 1",
        (wanted, str(owner)),
    )
    return _delete(db, [row[0] for row in found])


def prune(db: sqlite3.Connection, owner: ResourceId, committed: int, keep: Keep, now_ms: int) -> int:
    """Deletes up to `PRUNED_AT_ONCE` of the owner's outcomes that are too old or exceed the byte limit; returns how many.

    Outcomes of prompts at or after `committed` stay: those prompts still need them.
    """
    found = db.execute(_TO_PRUNE, {
        "owner": str(owner), "committed": committed, "bytes": keep.bytes, "oldest": now_ms - keep.age_ms,
        "placeless": now_ms - WITHOUT_PLACE_KEPT_MS, "limit": PRUNED_AT_ONCE,
    })  # fmt: skip
    return _delete(db, [row[0] for row in found])


_OUTDATED = """
SELECT 1 FROM current_versions AS now, json_each(?2) AS cite
WHERE now.owner = ?1 AND now.document = cite.value ->> 0 AND now.version IS NOT cite.value ->> 1 LIMIT 1
"""
"""Whether any of the citations (JSON: [[document, version], …]) is outdated for the owner."""
_TO_PRUNE = """
SELECT id FROM (
  SELECT id, place, answered_at_ms, SUM(size) OVER (ORDER BY answered_at_ms DESC, id DESC) AS so_far
  FROM answers WHERE owner = :owner)
WHERE (answered_at_ms <= :oldest OR so_far > :bytes) AND place < :committed AND (place >= 0 OR answered_at_ms <= :placeless)
ORDER BY answered_at_ms, id LIMIT :limit
"""


def _insert(db: sqlite3.Connection, ask: AskRecord, outcome: Outcome, said: StoredAnswer, now_ms: int) -> int | None:
    cost = said.cost
    return db.execute(
        "INSERT INTO answers (key, owner, ask_id, place, outcome, text, model, input_tokens, output_tokens, nano_usd, "
        "answered_at_ms, size) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            ask.key, str(ask.owner), ask.ask_id, ask.place, outcome, said.text, said.model,
            cost.input_tokens, cost.output_tokens, cost.nano_usd, now_ms, len(said.text.encode(errors="replace")),
        ),
    ).lastrowid  # fmt: skip


def _delete(db: sqlite3.Connection, ids: list[int]) -> int:
    listed = json.dumps(ids)
    db.execute("DELETE FROM citations WHERE answer_id IN (SELECT value FROM json_each(?))", (listed,))
    return db.execute("DELETE FROM answers WHERE id IN (SELECT value FROM json_each(?))", (listed,)).rowcount


def _answer(row: tuple[Any, ...]) -> StoredAnswer:
    return StoredAnswer(row[0], row[1], Cost(row[2], row[3], row[4]))


def _error(outcome: str, said: str) -> AnsweredError:
    message, where, next_step = json.loads(said)
    kind = RefusedError if outcome == "refused" else UnusableAnswerError
    return kind(message, where=where, next_step=next_step)
