"""Reads that need only SQL: documents, counts, changes."""

import sqlite3

from headrace.knowledge.query import AsOf, ChangedDocument, Counts, Timeline
from headrace.knowledge.sqlite.chunks import generation_row
from headrace.knowledge.sqlite.generations import STORED, stored
from headrace.knowledge.store import StoredDocument

INTERVAL: dict[Timeline, tuple[str, str]] = {
    "arrival": ("visible_from", "visible_to"),
    "event": ("valid_from", "valid_to"),
}
"""Columns for the start and end of an interval."""


def count(connection: sqlite3.Connection, generation: str, as_of: AsOf) -> Counts:
    """Counts of visible documents, their chunks, and deletions, without canaries."""
    one = generation_row(connection, generation)
    start, end = INTERVAL[as_of.timeline]
    row = connection.execute(
        "SELECT coalesce(sum(NOT r.deleted), 0), coalesce(sum(c.chunks), 0), coalesce(sum(r.deleted), 0) FROM revisions r "
        "LEFT JOIN cuts c ON c.generation = ?1 AND c.revision = r.key AND NOT r.deleted "
        f"WHERE NOT r.canary AND r.{start} <= ?2 AND ?2 < r.{end}",
        (one.number, as_of.at_ms),
    ).fetchone()
    return Counts(*row)


def document(connection: sqlite3.Connection, name: str, as_of: AsOf) -> StoredDocument | None:
    """The visible version."""
    start, end = INTERVAL[as_of.timeline]
    row = connection.execute(
        f"{STORED} WHERE d.name = ?1 AND NOT r.deleted AND r.{start} <= ?2 AND ?2 < r.{end}", (name, as_of.at_ms)
    ).fetchone()
    return None if row is None else stored(row)


def changed(connection: sqlite3.Connection, after: AsOf, upto_ms: int) -> list[ChangedDocument]:
    """Each document's last change in the interval, by time."""
    start, end = INTERVAL[after.timeline]
    rows = connection.execute(
        f"SELECT d.name, r.version, r.deleted, max(r.{start}) FROM revisions r JOIN documents d ON d.id = r.document "
        f"WHERE r.{start} > ? AND r.{start} <= ? AND r.{start} < r.{end} AND NOT r.canary "
        f"GROUP BY r.document ORDER BY max(r.{start}), d.name",
        (after.at_ms, upto_ms),
    )
    return [ChangedDocument(name, version, bool(deleted), at) for name, version, deleted, at in rows]
