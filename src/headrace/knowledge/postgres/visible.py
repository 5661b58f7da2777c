"""What is visible at a given time: documents, counts, changes, and the statistics for BM25."""

from dataclasses import dataclass

from headrace.knowledge.postgres.encoding import document_id, unescaped
from headrace.knowledge.postgres.generations import DOCUMENT_COLUMNS, stored_document
from headrace.knowledge.postgres.server import Connection
from headrace.knowledge.postgres.writing import target
from headrace.knowledge.query import AsOf, ChangedDocument, Counts, Timeline
from headrace.knowledge.store import StoredDocument

_FROM: dict[Timeline, str] = {"arrival": "v.visible_from", "event": "v.valid_from"}
_TO: dict[Timeline, str] = {"arrival": "v.visible_to", "event": "v.valid_to"}


def visible_sql(as_of: AsOf) -> str:
    """An expression over `v`, with the time as its two parameters."""
    return f"{_FROM[as_of.timeline]} <= %s and {_TO[as_of.timeline]} > %s"


@dataclass(frozen=True, slots=True)
class Figures:
    """Of all visible chunks of a generation."""

    chunks: int
    length: int
    """Terms of all of them."""


def figures(connection: Connection, generation: int, as_of: AsOf, *, canary: bool) -> Figures:
    row = connection.execute(
        "select coalesce(sum(k.chunks), 0), coalesce(sum(k.length), 0) from versions v join cuts k on k.version = v.key"
        f" where k.generation = %s and v.canary = %s and not v.deleted and {visible_sql(as_of)}".encode(),
        (generation, canary, as_of.at_ms, as_of.at_ms),
    ).fetchone()
    assert row is not None
    return Figures(int(str(row[0])), int(str(row[1])))


def counts(connection: Connection, generation: str, as_of: AsOf) -> Counts:
    """The port's `counts`."""
    number = target(connection, generation).number
    row = connection.execute(
        "select count(*) filter (where not v.deleted), count(*) filter (where v.deleted) from versions v"
        f" where not v.canary and {visible_sql(as_of)}".encode(),
        (as_of.at_ms, as_of.at_ms),
    ).fetchone()
    assert row is not None
    return Counts(int(str(row[0])), figures(connection, number, as_of, canary=False).chunks, int(str(row[1])))


def document(connection: Connection, name: str, as_of: AsOf) -> StoredDocument | None:
    """The port's `document`."""
    row = connection.execute(
        f"select {DOCUMENT_COLUMNS} from versions v join contents c on c.version = v.key"
        f" where v.document_id = %s and not v.deleted and {visible_sql(as_of)}".encode(),
        (document_id(name), as_of.at_ms, as_of.at_ms),
    ).fetchone()
    return stored_document(row) if row is not None else None


def changed(connection: Connection, after: AsOf, upto_ms: int) -> list[ChangedDocument]:
    """The port's `changed`."""
    begins, ends = _FROM[after.timeline], _TO[after.timeline]
    rows = connection.execute(
        f"""select distinct on (v.document_id) c.document, c.name, v.deleted, {begins}
            from versions v join contents c on c.version = v.key
            where {begins} > %s and {begins} <= %s and {ends} > {begins} and not v.canary
            order by v.document_id, {begins} desc""".encode(),
        (after.at_ms, upto_ms),
    ).fetchall()
    found = [
        ChangedDocument(unescaped(str(row[0])), unescaped(str(row[1])), bool(row[2]), int(str(row[3]))) for row in rows
    ]
    return sorted(found, key=lambda one: (one.at_ms, one.document))
