"""Empties the store in place. Keys are never reused, so an in-memory index cannot mistake new rows for old ones."""

from headrace.knowledge.sqlite.writer import Turn

_TABLES = (
    "cuts",
    "generations",
    "texts",
    "metadata",
    "revisions",
    "documents",
    "vectors",
    "models",
    "offsets",
    "state",
)


def clear(turn: Turn) -> list[int]:
    """Removes every document, generation, vector, offset and value; returns the generations' numbers. Terms keep their numbers."""
    connection = turn.connection
    numbers = [row[0] for row in connection.execute("SELECT id FROM generations").fetchall()]
    for number in numbers:
        connection.execute(f"DROP TABLE chunks_{number}")
    for table in _TABLES:
        connection.execute(f"DELETE FROM {table}")
    connection.execute("UPDATE head SET purged = ?", (turn.seq,))
    return numbers
