"""Vectors in the file: one per model and hash."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from headrace.foundation.errors import InvalidDeclarationError
from headrace.knowledge.query import Vector
from headrace.knowledge.sqlite.writer import Turn

_PER_LOOKUP = 500

Vectors = NDArray[np.float32]


def model_number(turn: Turn, model: str) -> int:
    """The model's number; a new model gets one."""
    turn.connection.execute("INSERT INTO models(name) VALUES (?) ON CONFLICT DO NOTHING", (model,))
    return turn.connection.execute("SELECT id FROM models WHERE name = ?", (model,)).fetchone()[0]


def missing(connection: sqlite3.Connection, model: str, hashes: Sequence[str]) -> list[str]:
    """Those without a vector, in order, without duplicates."""
    row = connection.execute("SELECT id FROM models WHERE name = ?", (model,)).fetchone()
    known = vector_keys(connection, row[0], hashes) if row else {}
    return [one for one in dict.fromkeys(hashes) if one not in known]


def vector_keys(connection: sqlite3.Connection, model: int, hashes: Iterable[str]) -> dict[str, int]:
    """The key of each existing vector, by hash."""
    wanted = list(dict.fromkeys(hashes))
    found: dict[str, int] = {}
    for start in range(0, len(wanted), _PER_LOOKUP):
        some = {hash_bytes(one): one for one in wanted[start : start + _PER_LOOKUP]}
        marks = ",".join("?" * len(some))
        rows = connection.execute(
            f"SELECT hash, key FROM vectors WHERE model = ? AND hash IN ({marks})", (model, *some)
        )
        found.update((some[name], key) for name, key in rows)
    return found


def keep(turn: Turn, model: str, vectors: Mapping[str, Vector]) -> None:
    """Writes the missing ones. InvalidDeclarationError: one does not fit the model's generations."""
    if not vectors:
        return
    dimensions = {
        row[0] for row in turn.connection.execute("SELECT dimension FROM generations WHERE model = ?", (model,))
    }
    rows = _checked(model, list(vectors.values()), dimensions)
    number = model_number(turn, model)
    known = vector_keys(turn.connection, number, vectors)
    new = [(one, row) for one, row in zip(vectors, rows, strict=True) if one not in known]
    keys = turn.keys(len(new))
    turn.connection.executemany(
        "INSERT INTO vectors VALUES (?, ?, ?, ?)",
        ((key, number, hash_bytes(one), row.tobytes()) for key, (one, row) in zip(keys, new, strict=True)),
    )


def hash_bytes(name: str) -> bytes:
    """Half as long as in hex."""
    try:
        return bytes.fromhex(name)
    except ValueError:
        return name.encode()


def fetch(connection: sqlite3.Connection, keys: NDArray[np.int64], dimension: int) -> Vectors:
    """The vectors with these keys, in that order: [len(keys), dimension]; zeros for one that has been purged."""
    found: dict[int, bytes] = {}
    zeros = bytes(4 * dimension)
    wanted: list[int] = keys.tolist()
    for start in range(0, len(wanted), _PER_LOOKUP):
        some = wanted[start : start + _PER_LOOKUP]
        marks = ",".join("?" * len(some))
        found.update(connection.execute(f"SELECT key, vector FROM vectors WHERE key IN ({marks})", some).fetchall())
    return np.frombuffer(b"".join(found.get(key, zeros) for key in wanted), np.float32).reshape(len(wanted), dimension)


def forget_unused(turn: Turn, keys: Sequence[int]) -> None:
    """Deletes those vectors that no chunk of any generation uses."""
    tables = [f"chunks_{row[0]}" for row in turn.connection.execute("SELECT id FROM generations")]
    used = "".join(f" AND NOT EXISTS (SELECT 1 FROM {table} WHERE vector = vectors.key)" for table in tables)
    turn.connection.executemany(f"DELETE FROM vectors WHERE key = ?{used}", ((key,) for key in keys))


def check_question(vector: Vector | None, dimension: int) -> Vector:
    """The query vector; InvalidDeclarationError if it does not have that dimension."""
    if vector is None:
        raise InvalidDeclarationError("a semantic search needs a query vector", next_step="embed the question")
    return _checked("the generation", [vector], {dimension})[0]


def _checked(model: str, vectors: Sequence[Vector], dimensions: set[int]) -> list[Vector]:
    """As contiguous float32."""
    rows = [np.ascontiguousarray(one, np.float32) for one in vectors]
    for row in rows:
        if row.ndim != 1 or not row.size or (dimensions and row.size not in dimensions):
            raise InvalidDeclarationError(
                f"a vector for {model!r} has shape {row.shape}",
                next_step=f"pass vectors of length {' or '.join(map(str, sorted(dimensions)))}",
            )
        if not np.isfinite(row).all():
            raise InvalidDeclarationError(
                f"a vector for {model!r} contains numbers that are not finite", next_step="check the embedder"
            )
    return rows
