"""Chunks of versions, written for one generation."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from headrace.foundation.errors import InvalidDeclarationError, NotFoundError
from headrace.knowledge.revision import Chunk
from headrace.knowledge.sqlite.terms import pack
from headrace.knowledge.sqlite.vectors import vector_keys
from headrace.knowledge.sqlite.writer import Turn

Parts = Sequence[tuple[int, Sequence[Chunk]]]
"""Versions by key, with their chunks."""


@dataclass(frozen=True, slots=True)
class GenerationRow:
    """What reading and writing need to know about a generation."""

    number: int
    model_number: int
    model: str
    dimension: int


def generation_row(connection: sqlite3.Connection, name: str) -> GenerationRow:
    """NotFoundError: it does not exist."""
    row = connection.execute(
        "SELECT id, model_id, model, dimension FROM generations WHERE name = ?", (name,)
    ).fetchone()
    if row is None:
        names = [one[0] for one in connection.execute("SELECT name FROM generations ORDER BY id")]
        raise NotFoundError(f"there is no generation {name!r}", next_step=f"use one of: {', '.join(names) or '(none)'}")
    return GenerationRow(*row)


def write_chunks(turn: Turn, generation: GenerationRow, parts: Parts) -> int:
    """Writes the chunks and marks the versions as chunked. InvalidDeclarationError: a chunk's vector is missing."""
    chunks = [chunk for _, some in parts for chunk in some]
    hashes = [chunk.hash for chunk in chunks]
    vectors = _vectors(turn, generation, hashes)
    ids = turn.terms.ids(turn.connection, (term for chunk in chunks for term in chunk.terms))
    keys = iter(turn.keys(len(chunks)))
    names = iter(hashes)
    turn.connection.executemany(
        f"INSERT INTO chunks_{generation.number} VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (_row(next(keys), revision, chunk, vectors[next(names)], ids) for revision, some in parts for chunk in some),
    )
    turn.connection.executemany(
        "INSERT INTO cuts VALUES (?, ?, ?)", ((generation.number, revision, len(some)) for revision, some in parts)
    )
    return len(chunks)


def _row(key: int, revision: int, chunk: Chunk, vector: int, ids: Mapping[str, int]) -> tuple[object, ...]:
    return (
        key, revision, chunk.index, chunk.start, sum(chunk.terms.values()), vector, pack(chunk.terms, ids),
        json.dumps(chunk.headings, ensure_ascii=False) if chunk.headings else "", chunk.text,
    )  # fmt: skip


def _vectors(turn: Turn, generation: GenerationRow, hashes: Sequence[str]) -> dict[str, int]:
    found = vector_keys(turn.connection, generation.model_number, hashes)
    absent = [one for one in dict.fromkeys(hashes) if one not in found]
    if absent:
        raise InvalidDeclarationError(
            f"{len(absent)} chunks have no vector of {generation.model!r}, starting with {absent[0]}",
            next_step="pass them with the batch, or store them first",
        )
    return found
