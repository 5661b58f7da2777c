"""Purges versions that have ended."""

from headrace.knowledge.sqlite.vectors import forget_unused
from headrace.knowledge.sqlite.writer import Turn


def purge(turn: Turn, before_ms: int) -> int:
    """Deletes versions that ended before then, with their chunks and otherwise unused vectors; documents stay known."""
    connection = turn.connection
    keys = [row[0] for row in connection.execute("SELECT key FROM revisions WHERE visible_to < ?", (before_ms,))]
    if not keys:
        return 0
    vectors: set[int] = set()
    generations = [row[0] for row in connection.execute("SELECT id FROM generations")]
    for key in keys:
        for number in generations:
            rows = connection.execute(f"DELETE FROM chunks_{number} WHERE revision = ? RETURNING vector", (key,))
            vectors.update(row[0] for row in rows.fetchall())
            connection.execute("DELETE FROM cuts WHERE generation = ? AND revision = ?", (number, key))
        for statement in _OF_A_REVISION:
            connection.execute(statement, (key,))
    forget_unused(turn, sorted(vectors))
    connection.execute("UPDATE head SET purged = ?", (turn.seq,))
    return len(keys)


_OF_A_REVISION = (
    "DELETE FROM texts WHERE revision = ?",
    "DELETE FROM metadata WHERE revision = ?",
    "DELETE FROM revisions WHERE key = ?",
)
