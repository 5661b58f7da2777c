"""Generations: put, switched, backfilled, dropped."""

from collections.abc import Mapping, Sequence
from typing import cast

from psycopg import sql

from headrace.foundation.errors import InvalidDeclarationError
from headrace.knowledge.generation import Generation, State
from headrace.knowledge.postgres import vectors as vector_tables
from headrace.knowledge.postgres.encoding import escaped, loaded, unescaped
from headrace.knowledge.postgres.schema import vectors_table
from headrace.knowledge.postgres.server import Connection
from headrace.knowledge.postgres.writing import target, write_chunks
from headrace.knowledge.query import Vector
from headrace.knowledge.store import Backfill, StoredDocument

DOCUMENT_COLUMNS = """v.key, c.document, c.name, c.title, c.text, c.media, c.metadata, v.deleted,
  v.visible_from, v.visible_to, v.valid_from, v.valid_to"""


def put(connection: Connection, generation: Generation) -> None:
    """The port's `put_generation`."""
    if generation.dimension < 1:
        raise InvalidDeclarationError(
            f"a generation cannot have {generation.dimension} dimensions", next_step="use the embedder's dimension"
        )
    model = vector_tables.ensure_model(connection, generation.model, generation.dimension)
    if generation.state == "active":
        connection.execute(
            "update generations set state = 'kept', retired_ms = %s where state = 'active' and id <> %s",
            (generation.activated_ms, generation.id),
        )
    connection.execute(
        "insert into generations (id, model, chunker, state, created_ms, activated_ms, retired_ms)"
        " values (%s, %s, %s, %s, %s, %s, %s) on conflict (id) do update set state = excluded.state,"
        " created_ms = excluded.created_ms, activated_ms = excluded.activated_ms, retired_ms = excluded.retired_ms",
        (generation.id, model, escaped(generation.chunker), generation.state, generation.created_ms,
         generation.activated_ms, generation.retired_ms),
    )  # fmt: skip


def all_generations(connection: Connection) -> list[Generation]:
    """Oldest first."""
    rows = connection.execute(
        "select m.model, m.dimension, g.chunker, g.state, g.created_ms, g.activated_ms, g.retired_ms"
        " from generations g join models m on m.id = g.model order by g.created_ms, g.number"
    ).fetchall()
    return [
        Generation(
            unescaped(str(row[0])), int(str(row[1])), unescaped(str(row[2])), cast("State", row[3]),
            int(str(row[4])), int(str(row[5])), int(str(row[6])),
        )
        for row in rows
    ]  # fmt: skip


def drop(connection: Connection, generation: str) -> None:
    """Drops it with its chunks, and its vectors if no other generation uses the model."""
    gone = target(connection, generation)
    connection.execute("delete from cuts where generation = %s", (gone.number,))
    rows = connection.execute("delete from chunks where generation = %s returning vector", (gone.number,)).fetchall()
    connection.execute("delete from generations where number = %s", (gone.number,))
    shared = connection.execute("select 1 from generations where model = %s limit 1", (gone.model,)).fetchone()
    if shared is not None:
        vector_tables.drop_unused(connection, gone.model, list({int(str(row[0])) for row in rows}))
    else:
        connection.execute(sql.SQL("drop table {}").format(vectors_table(gone.model)))
        connection.execute("delete from models where id = %s", (gone.model,))


def clear(connection: Connection) -> None:
    """The port's `clear`."""
    for row in connection.execute("select id from models").fetchall():
        connection.execute(sql.SQL("drop table {}").format(vectors_table(int(str(row[0])))))
    for table in ("cuts", "chunks", "versions", "generations", "models", "offsets", "state"):
        connection.execute(sql.SQL("delete from {}").format(sql.Identifier(table)))


def not_in(connection: Connection, generation: str, limit: int) -> list[StoredDocument]:
    """The port's `not_in_generation`."""
    rows = connection.execute(
        f"select {DOCUMENT_COLUMNS} from versions v join contents c on c.version = v.key"
        " where not v.deleted and not v.canary"
        " and not exists (select from cuts where cuts.version = v.key and cuts.generation = %s) order by v.key limit %s",
        (target(connection, generation).number, limit),
    ).fetchall()
    return [stored_document(row) for row in rows]


def stored_document(row: Sequence[object]) -> StoredDocument:
    """From `DOCUMENT_COLUMNS`."""
    document, version, title, text, media = (unescaped(str(one)) for one in row[1:6])
    visible_from, visible_to, valid_from, valid_to = (int(str(one)) for one in row[8:12])
    return StoredDocument(
        int(str(row[0])), document, version, title, text, media, loaded(str(row[6])), bool(row[7]),
        visible_from, visible_to, valid_from, valid_to,
    )  # fmt: skip


def backfill(connection: Connection, generation: str, parts: Sequence[Backfill], vectors: Mapping[str, Vector]) -> None:
    """The port's `backfill`: skips versions that are already chunked or were purged."""
    where = target(connection, generation)
    vector_tables.keep(connection, where.model_name, vectors)
    rows = connection.execute(
        "select key from versions v where key = any(%s)"
        " and not exists (select from cuts where cuts.version = v.key and cuts.generation = %s)",
        ([part.key for part in parts], where.number),
    ).fetchall()
    wanted = {int(str(row[0])) for row in rows}
    once = {part.key: part.chunks for part in parts if part.key in wanted}
    write_chunks(connection, where, list(once.items()))
