"""Generations: put, dropped, backfilled."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import cast

from headrace.knowledge.generation import Generation
from headrace.knowledge.query import Vector
from headrace.knowledge.revision import Scalar
from headrace.knowledge.sqlite.chunks import generation_row, write_chunks
from headrace.knowledge.sqlite.database import CHUNK_TABLE
from headrace.knowledge.sqlite.vectors import forget_unused, keep, model_number
from headrace.knowledge.sqlite.writer import Turn
from headrace.knowledge.store import Backfill, StoredDocument

STORED = (
    "SELECT r.key, d.name, r.version, r.title, coalesce(t.text, ''), r.media, r.metadata, r.deleted, r.visible_from, "
    "r.visible_to, r.valid_from, r.valid_to FROM revisions r JOIN documents d ON d.id = r.document "
    "LEFT JOIN texts t ON t.revision = r.key "
)


def stored(row: tuple[object, ...]) -> StoredDocument:
    """A row of `STORED`."""
    key, name, version, title, text, media, metadata, deleted, *interval = cast("tuple[int, ...]", row)
    read = cast("dict[str, Scalar]", json.loads(str(metadata)))
    return StoredDocument(
        key, str(name), str(version), str(title), str(text), str(media), read, bool(deleted), *interval
    )


def put(turn: Turn, generation: Generation) -> None:
    """Adds or changes it; if it is active, the others become kept."""
    one, connection = generation, turn.connection
    if generation.state == "active":
        connection.execute(
            "UPDATE generations SET state = 'kept', retired_ms = ? WHERE state = 'active' AND name <> ?",
            (one.activated_ms, one.id),
        )
    known = connection.execute(
        "UPDATE generations SET state = ?, created_ms = ?, activated_ms = ?, retired_ms = ? WHERE name = ? RETURNING id",
        (one.state, one.created_ms, one.activated_ms, one.retired_ms, one.id),
    ).fetchall()
    if known:
        return
    number = turn.key()
    connection.execute(
        "INSERT INTO generations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            number, one.id, model_number(turn, one.model), one.model, one.dimension, one.chunker, one.state, one.created_ms,
            one.activated_ms, one.retired_ms,
        ),
    )  # fmt: skip
    for statement in CHUNK_TABLE.format(generation=number).split(";\n"):
        connection.execute(statement)


def listed(connection: sqlite3.Connection) -> list[Generation]:
    """Oldest first."""
    rows = connection.execute(
        "SELECT model, dimension, chunker, state, created_ms, activated_ms, retired_ms FROM generations "
        "ORDER BY created_ms, id"
    )
    return [Generation(*row) for row in rows]


def drop(turn: Turn, name: str) -> int:
    """Removes it with its chunks and the vectors that only it used; returns its number."""
    one = generation_row(turn.connection, name)
    vectors = [row[0] for row in turn.connection.execute(f"SELECT DISTINCT vector FROM chunks_{one.number}")]
    turn.connection.execute(f"DROP TABLE chunks_{one.number}")
    turn.connection.execute("DELETE FROM cuts WHERE generation = ?", (one.number,))
    turn.connection.execute("DELETE FROM generations WHERE id = ?", (one.number,))
    forget_unused(turn, vectors)
    return one.number


def not_in(connection: sqlite3.Connection, name: str, limit: int) -> list[StoredDocument]:
    """Versions not yet chunked for it, by key."""
    one = generation_row(connection, name)
    rows = connection.execute(
        f"{STORED} WHERE NOT r.deleted AND NOT r.canary AND NOT EXISTS "
        "(SELECT 1 FROM cuts c WHERE c.generation = ? AND c.revision = r.key) ORDER BY r.key LIMIT ?",
        (one.number, limit),
    )
    return [stored(row) for row in rows]


def backfill(turn: Turn, name: str, parts: Sequence[Backfill], vectors: Mapping[str, Vector]) -> None:
    """Chunks for existing versions that are not chunked yet."""
    one = generation_row(turn.connection, name)
    keep(turn, one.model, vectors)
    fresh: dict[int, Backfill] = {}
    for part in parts:
        wanted = turn.connection.execute(
            "SELECT 1 FROM revisions r WHERE key = ? AND NOT EXISTS "
            "(SELECT 1 FROM cuts c WHERE c.generation = ? AND c.revision = r.key)",
            (part.key, one.number),
        ).fetchone()
        if wanted:
            fresh.setdefault(part.key, part)
    write_chunks(turn, one, [(key, part.chunks) for key, part in fresh.items()])
