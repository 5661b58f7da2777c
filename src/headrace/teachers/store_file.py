"""The file `teachers.sqlite`: its tables, versions and opening."""

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from headrace.foundation.errors import HeadraceError
from headrace.foundation.sqlite import Schema, SqliteFile, run

_ANSWERS = """
CREATE TABLE answers (
  id INTEGER PRIMARY KEY, key TEXT NOT NULL, owner TEXT NOT NULL, ask_id TEXT NOT NULL, place INTEGER NOT NULL,
  outcome TEXT NOT NULL, text TEXT NOT NULL, model TEXT NOT NULL, input_tokens INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL, nano_usd INTEGER NOT NULL, answered_at_ms INTEGER NOT NULL, size INTEGER NOT NULL);
CREATE INDEX answers_by_key ON answers (key, id) WHERE outcome = 'answer';
CREATE INDEX answers_by_ask ON answers (owner, ask_id, key) WHERE ask_id <> '';
CREATE INDEX answers_by_age ON answers (owner, answered_at_ms, id, place, size);
"""
_CITATIONS = """
CREATE TABLE citations (
  document TEXT NOT NULL, version TEXT NOT NULL, answer_id INTEGER NOT NULL,
  PRIMARY KEY (document, version, answer_id)) WITHOUT ROWID;
CREATE INDEX citations_by_answer ON citations (answer_id);
"""
_VERSIONS_OF_DOCUMENTS = """
CREATE TABLE current_versions (
  owner TEXT NOT NULL, document TEXT NOT NULL, version TEXT, PRIMARY KEY (owner, document)) WITHOUT ROWID;
"""
_LEDGER = """
CREATE TABLE reservations (
  id INTEGER PRIMARY KEY AUTOINCREMENT, owner TEXT NOT NULL, input_tokens INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL, nano_usd INTEGER NOT NULL, reserved_at_ms INTEGER NOT NULL,
  expires_at_ms INTEGER NOT NULL, lost_at_ms INTEGER);
CREATE INDEX reservations_open ON reservations (expires_at_ms) WHERE lost_at_ms IS NULL;
CREATE TABLE spending (
  owner TEXT PRIMARY KEY, calls INTEGER NOT NULL DEFAULT 0, cached INTEGER NOT NULL DEFAULT 0,
  input_tokens INTEGER NOT NULL DEFAULT 0, output_tokens INTEGER NOT NULL DEFAULT 0,
  nano_usd INTEGER NOT NULL DEFAULT 0, open_reservations INTEGER NOT NULL DEFAULT 0,
  open_tokens INTEGER NOT NULL DEFAULT 0, open_nano_usd INTEGER NOT NULL DEFAULT 0,
  killed_calls INTEGER NOT NULL DEFAULT 0, broken_calls INTEGER NOT NULL DEFAULT 0,
  lost_tokens INTEGER NOT NULL DEFAULT 0, lost_nano_usd INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
"""
_FROM_1 = """
DELETE FROM answers WHERE id IN (SELECT answer_id FROM citations);
DROP TABLE citations;
DROP TABLE forgotten;
CREATE TABLE citations (answer_id INTEGER);
CREATE TABLE current_versions (
  finetuner TEXT NOT NULL, document TEXT NOT NULL, version TEXT, PRIMARY KEY (finetuner, document)) WITHOUT ROWID;
"""
_FROM_2 = f"""
DROP TABLE answers;
DROP TABLE citations;
{_ANSWERS}{_CITATIONS}
ALTER TABLE current_versions RENAME TO former_versions;
ALTER TABLE reservations RENAME TO former_reservations;
ALTER TABLE spending RENAME TO former_spending;
{_VERSIONS_OF_DOCUMENTS}{_LEDGER}
INSERT INTO current_versions SELECT 'StreamFinetuner/' || finetuner, document, version FROM former_versions;
INSERT INTO reservations
  SELECT id, 'StreamFinetuner/' || finetuner, input_tokens, output_tokens, nano_usd, reserved_at_ms, reserved_at_ms + 600000, NULL
  FROM former_reservations;
INSERT INTO spending (owner, calls, cached, input_tokens, output_tokens, nano_usd, open_reservations, open_tokens, open_nano_usd)
  SELECT 'StreamFinetuner/' || finetuner, calls, cached, input_tokens, output_tokens, nano_usd, open_reservations, open_tokens,
  open_nano_usd FROM former_spending;
DROP TABLE former_versions;
DROP TABLE former_reservations;
DROP TABLE former_spending;
"""
SCHEMA = Schema(
    what="the answer store",
    application_id=0x48524154,  # 'HRAT'
    version=3,
    readable_since="0.2.0",
    tables=_ANSWERS + _CITATIONS + _VERSIONS_OF_DOCUMENTS + _LEDGER,
    migrations={1: lambda db: run(db, _FROM_1), 2: lambda db: run(db, _FROM_2)},
    marked_since=3,
    damaged="move the file away; cached answers and spending records are lost with it",
)
"""Answers from before version 3 do not record their endpoint and namespace, so they are dropped; spending stays."""


@dataclass(frozen=True, slots=True)
class StoreFile:
    """One open file: one connection that writes and one that reads."""

    path: Path
    writer: sqlite3.Connection
    reader: sqlite3.Connection

    def close(self) -> None:
        self.reader.close()
        self.writer.close()


def open_store_file(path: Path) -> StoreFile:
    """Opens the file, and creates or migrates it first where needed.

    StateVersionError, CorruptDataError, DiskFullError or UnavailableError where it cannot be opened.
    """
    file = SqliteFile(path, SCHEMA)
    file.prepare()
    with file.translated():
        writer = file.connect(writable=True)
        return StoreFile(path, writer, file.connect())


def store_error(error: sqlite3.Error | OSError, path: Path) -> HeadraceError:
    """The port's error for the driver's."""
    return SqliteFile(path, SCHEMA).translate(error)
