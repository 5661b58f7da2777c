"""Vectors: one table per model and dimension, each text's vector once."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from psycopg import sql

from headrace.foundation.errors import InvalidDeclarationError
from headrace.knowledge.postgres.encoding import BINARY_END, BINARY_HEAD, binary_row, escaped, vector_bytes
from headrace.knowledge.postgres.schema import create_vectors_table, vectors_index, vectors_table
from headrace.knowledge.postgres.server import Connection
from headrace.knowledge.query import Vector


@dataclass(frozen=True, slots=True)
class Model:
    """A table of vectors."""

    id: int
    dimension: int
    used: bool
    """Whether a generation uses it."""


def models_of(connection: Connection, model: str) -> list[Model]:
    """The model's tables; if generations use the model, only theirs."""
    rows = connection.execute(
        "select id, dimension, exists (select from generations g where g.model = m.id) from models m"
        " where model = %s order by id",
        (escaped(model),),
    ).fetchall()
    found = [Model(int(str(row[0])), int(str(row[1])), bool(row[2])) for row in rows]
    used = [one for one in found if one.used]
    return used or found


def ensure_model(connection: Connection, model: str, dimension: int) -> int:
    """The table's number; creates the table if needed."""
    row = connection.execute(
        "select id from models where model = %s and dimension = %s", (escaped(model), dimension)
    ).fetchone()
    if row is not None:
        return int(str(row[0]))
    added = connection.execute(
        "insert into models (model, dimension) values (%s, %s) returning id", (escaped(model), dimension)
    ).fetchone()
    assert added is not None
    number = int(str(added[0]))
    create_vectors_table(connection, number, dimension)
    return number


def missing(connection: Connection, model: str, hashes: Sequence[str]) -> list[str]:
    """Those that are in none of the model's tables, in order, without duplicates."""
    wanted = list(dict.fromkeys(hashes))
    there: set[str] = set()
    if wanted:
        for one in models_of(connection, model):
            there.update(ids_of(connection, one.id, wanted))
    return [one for one in wanted if one not in there]


def ids_of(connection: Connection, model: int, hashes: Sequence[str]) -> dict[str, int]:
    """By hash, where present."""
    rows = connection.execute(
        sql.SQL("select hash, id from {} where hash = any(%s)").format(vectors_table(model)),
        ([escaped(one) for one in hashes],),
    ).fetchall()
    by_text = {str(row[0]): int(str(row[1])) for row in rows}
    return {one: by_text[escaped(one)] for one in hashes if escaped(one) in by_text}


def keep(connection: Connection, model: str, vectors: Mapping[str, Vector]) -> None:
    """Adds the new ones. InvalidDeclarationError: a wrong length, or a number that is not finite."""
    if not vectors:
        return
    there_are = models_of(connection, model)
    tables, used = {one.dimension: one.id for one in there_are}, any(one.used for one in there_are)
    by_table: dict[int, dict[str, Vector]] = {}
    for name, vector in vectors.items():
        check_vector(vector, set(tables) if used else None, model)
        if len(vector) not in tables:
            tables[len(vector)] = ensure_model(connection, model, len(vector))
        by_table.setdefault(tables[len(vector)], {})[name] = vector
    for table, given in by_table.items():
        there = ids_of(connection, table, list(given))
        _copy(connection, table, ((name, vector) for name, vector in given.items() if name not in there))


def _copy(connection: Connection, table: int, vectors: Iterable[tuple[str, Vector]]) -> None:
    statement = sql.SQL("copy {} (hash, settled, vector) from stdin (format binary)").format(vectors_table(table))
    settled = b"\x00" if has_index(connection, table) else b"\x01"
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(BINARY_HEAD)
        for name, vector in vectors:
            copy.write(binary_row(escaped(name).encode(), settled, vector_bytes(vector)))
        copy.write(BINARY_END)


def has_index(connection: Connection, table: int) -> bool:
    """Built, or being built."""
    name = vectors_index(table).as_string(connection)
    row = connection.execute("select to_regclass(%s) is not null", (name,)).fetchone()
    return row is not None and bool(row[0])


def check_vector(vector: Vector, dimensions: set[int] | None, whose: str) -> None:
    """InvalidDeclarationError if its length is not in `dimensions` (None: any), or a number is not finite."""
    if vector.ndim != 1 or len(vector) == 0 or (dimensions is not None and len(vector) not in dimensions):
        wanted = " or ".join(str(one) for one in sorted(dimensions or ()))
        raise InvalidDeclarationError(
            f"a vector for {whose} has shape {vector.shape}{f', not ({wanted},)' if wanted else ''}",
            next_step="embed with the generation's model",
        )
    if not np.isfinite(vector).all():
        raise InvalidDeclarationError(
            f"a vector for {whose} contains numbers that are not finite", next_step="embed the text again"
        )


def drop_unused(connection: Connection, model: int, candidates: Sequence[int]) -> None:
    """Deletes those vectors that no chunk of any generation of the model uses."""
    connection.execute(
        sql.SQL(
            "delete from {} v where id = any(%s) and not exists (select from chunks c join generations g on"
            " g.number = c.generation where c.vector = v.id and g.model = %s)"
        ).format(vectors_table(model)),
        (list(candidates), model),
    )
