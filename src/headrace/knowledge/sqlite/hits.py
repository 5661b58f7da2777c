"""Candidates → hits: a chunk's displayed data, read from the file."""

import json
import sqlite3
from collections.abc import Sequence

from headrace.knowledge.query import Hit
from headrace.knowledge.ranking import Candidate
from headrace.knowledge.sqlite.chunks import GenerationRow
from headrace.knowledge.sqlite.ranker import Ranked

_PER_LOOKUP = 500


def read_hits(connection: sqlite3.Connection, generation: GenerationRow, ranked: Ranked) -> list[Hit]:
    """In the order of `ranked.best`."""
    rows = _rows(connection, generation, [one.key for one in ranked.best])
    vector, keyword = _ranks(ranked.vector), _ranks(ranked.keyword)
    return [_hit(one, rows[one.key], vector.get(one.key), keyword.get(one.key)) for one in ranked.best]


def _ranks(candidates: Sequence[Candidate]) -> dict[int, tuple[int, float]]:
    return {one.key: (rank, one.score) for rank, one in enumerate(candidates, 1)}


def _rows(
    connection: sqlite3.Connection, generation: GenerationRow, keys: Sequence[int]
) -> dict[int, tuple[str, str, int, str, str, str, str, int]]:
    found: dict[int, tuple[str, str, int, str, str, str, str, int]] = {}
    for start in range(0, len(keys), _PER_LOOKUP):
        some = keys[start : start + _PER_LOOKUP]
        rows = connection.execute(
            "SELECT c.key, d.name, r.version, c.number, c.text, c.headings, r.title, r.metadata, r.visible_from "
            f"FROM chunks_{generation.number} c JOIN revisions r ON r.key = c.revision JOIN documents d ON d.id = r.document "
            f"WHERE c.key IN ({','.join('?' * len(some))})",
            some,
        )
        found.update((row[0], row[1:]) for row in rows)
    return found


def _hit(
    candidate: Candidate,
    row: tuple[str, str, int, str, str, str, str, int],
    vector: tuple[int, float] | None,
    keyword: tuple[int, float] | None,
) -> Hit:
    document, version, number, text, headings, title, metadata, seen_ms = row
    return Hit(
        document, version, number, text, candidate.score, tuple(json.loads(headings)) if headings else (), title,
        json.loads(metadata), *(vector or (None, None)), *(keyword or (None, None)), seen_ms,
    )  # fmt: skip
