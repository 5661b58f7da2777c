"""A filter → the versions that pass it, in SQL; names and values are bound, never written into a statement."""

import sqlite3
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from headrace.knowledge.filters import Condition
from headrace.knowledge.sqlite.metadata import NOT_A_NUMBER, comparable

Keys = NDArray[np.int64]

_ROWS = 8_192
_COMPARISONS = {"eq": "=", "in": "=", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
_OF_A_NAME = "SELECT revision FROM metadata WHERE name = ?"
_WITHOUT_A_NAME = (
    "SELECT key FROM revisions WHERE NOT EXISTS (SELECT 1 FROM metadata WHERE revision = key AND name = ?)"
)


def passing(connection: sqlite3.Connection, where: Sequence[Condition]) -> Keys:
    """The keys of all versions, visible or not, that meet every condition; sorted."""
    kept: Keys | None = None
    for condition in where:
        found = np.unique(_passing(connection, condition))
        kept = found if kept is None else np.intersect1d(kept, found, assume_unique=True)
        if not kept.size:
            break
    return kept if kept is not None else np.empty(0, np.int64)


def _passing(connection: sqlite3.Connection, condition: Condition) -> Keys:
    if condition.operator == "exists":
        statement = _OF_A_NAME if condition.values[0] else _WITHOUT_A_NAME
        return _keys(connection.execute(statement, (condition.name,)))
    comparison = _COMPARISONS[condition.operator]
    statement = f"{_OF_A_NAME} AND kind = ? AND (value, rest) {comparison} (?, ?)"
    found = [
        _keys(connection.execute(statement, (condition.name, *wanted)))
        for wanted in dict.fromkeys(map(comparable, condition.values))
        if wanted[0] != NOT_A_NUMBER
    ]
    return np.concatenate(found) if found else np.empty(0, np.int64)


def _keys(cursor: sqlite3.Cursor) -> Keys:
    parts: list[Keys] = []
    while rows := cursor.fetchmany(_ROWS):
        parts.append(np.fromiter((row[0] for row in rows), np.int64, len(rows)))
    return np.concatenate(parts) if parts else np.empty(0, np.int64)
