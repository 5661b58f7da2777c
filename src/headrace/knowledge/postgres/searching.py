"""Search: candidates from indexes or from all visible chunks, scored by the definitions that all back ends share."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headrace.foundation.errors import InvalidDeclarationError
from headrace.knowledge import ranking
from headrace.knowledge.postgres.encoding import escaped, loaded, unescaped, vector_of, vector_text
from headrace.knowledge.postgres.filtering import filter_sql
from headrace.knowledge.postgres.schema import vectors_index
from headrace.knowledge.postgres.server import Connection
from headrace.knowledge.postgres.vectors import check_vector
from headrace.knowledge.postgres.visible import figures, visible_sql
from headrace.knowledge.postgres.writing import Target, target
from headrace.knowledge.query import Hit, StoreQuery, Vector
from headrace.knowledge.ranking import Candidate

SELECTIVE = 5_000
"""If a filter leaves at most this many chunks, all of them are compared."""
EF_SEARCH = 100
"""Candidates that the index keeps while it walks; pgvector's default, 40, finds too few."""
_CLOSE = 1e-5
"""Server scores closer than this are re-sorted: the server computes in float32."""
_SLACK = 32
_MOST = 1 << 14


@dataclass(frozen=True, slots=True)
class _Scope:
    """The chunks that a query considers."""

    where: Target
    query: StoreQuery
    condition: str
    values: tuple[object, ...]

    @property
    def tables(self) -> str:
        """Chunks, their versions, and contents if the filter needs them."""
        return f"chunks k {self.versions}"

    @property
    def versions(self) -> str:
        """The joins from chunks to them."""
        joined = "join versions v on v.key = k.version"
        return f"{joined} join contents c on c.version = v.key" if self.query.where else joined


def search(connection: Connection, query: StoreQuery) -> list[Hit]:
    """The port's `search`, within one snapshot."""
    where = target(connection, query.generation)
    if query.mode != "keyword":
        _check_question(query.vector, where)
    filtered, values = filter_sql(query.where)
    scope = _Scope(
        where, query,
        f"k.generation = %s and v.canary = %s and not v.deleted and {visible_sql(query.as_of)} and {filtered}",
        (where.number, query.canary, query.as_of.at_ms, query.as_of.at_ms, *values),
    )  # fmt: skip
    depth = query.limit if query.mode != "hybrid" else max(query.limit, ranking.DEPTH)
    if query.limit < 1:
        return []
    by_meaning = _by_meaning(connection, scope, query.vector, depth) if query.mode != "keyword" else []
    by_words = _by_words(connection, scope, depth) if query.mode != "vector" else []
    best = {
        "vector": by_meaning, "keyword": by_words, "hybrid": ranking.fuse((by_meaning, by_words), query.limit),
    }[query.mode]  # fmt: skip
    return _hits(connection, query, best, by_meaning, by_words)


def _check_question(vector: Vector | None, where: Target) -> None:
    if vector is None:
        raise InvalidDeclarationError("a semantic search needs a query vector", next_step="embed the question")
    check_vector(vector, {where.dimension}, "the question")


def _by_meaning(connection: Connection, scope: _Scope, vector: Vector | None, depth: int) -> list[Candidate]:
    assert vector is not None
    if _index_serves(connection, scope):
        near = _along_index(connection, scope, vector, depth + _SLACK)
        if near is not None:
            return _rescored(near, vector)[:depth]
    count = depth + _SLACK
    while True:
        near = _among_all(connection, scope, vector, count)
        settled = len(near) < count or near[-1].distance - near[depth - 1].distance > _CLOSE
        if settled or count >= _MOST:
            return _rescored(near, vector)[:depth]
        count *= 4


@dataclass(frozen=True, slots=True)
class _Near:
    key: int
    vector: int
    distance: float
    numbers: bytes


def _index_serves(connection: Connection, scope: _Scope) -> bool:
    """Whether the index exists and is valid, the query is about now, and the filter leaves many chunks."""
    query = scope.query
    if query.exact or not query.current or query.canary or query.as_of.timeline != "arrival":
        return False
    index = vectors_index(scope.where.model).as_string(connection)
    row = connection.execute("select indisvalid from pg_index where indexrelid = to_regclass(%s)", (index,)).fetchone()
    if row is None or not row[0]:
        return False
    if not query.where:
        return True
    left = connection.execute(
        f"select count(*) from (select from {scope.tables} where {scope.condition} limit %s) few".encode(),
        (*scope.values, SELECTIVE + 1),
    ).fetchone()
    return left is not None and int(str(left[0])) > SELECTIVE


_WALK = b"""select set_config('hnsw.iterative_scan', 'strict_order', true), set_config('hnsw.ef_search', %s, true),
  set_config('hnsw.max_scan_tuples', '40000', true), set_config('enable_seqscan', 'off', true),
  set_config('enable_sort', 'off', true), set_config('enable_hashjoin', 'off', true),
  set_config('enable_mergejoin', 'off', true), set_config('enable_bitmapscan', 'off', true),
  set_config('join_collapse_limit', '1', true)"""
"""Forces the join order vectors, chunks, versions, whatever the statistics say."""
_FREE = b"""select set_config('join_collapse_limit', '8', true), set_config(name, 'on', true) from unnest(
  array['enable_seqscan', 'enable_sort', 'enable_hashjoin', 'enable_mergejoin', 'enable_bitmapscan']) name"""


def _along_index(connection: Connection, scope: _Scope, vector: Vector, count: int) -> list[_Near] | None:
    """The nearest among indexed and fresh vectors; None if the index gave up early."""
    connection.execute(_WALK, (str(max(EF_SEARCH, min(count, 1_000))),))
    table, values = f"vectors_{scope.where.model}", (vector_text(vector), *scope.values, count)
    chunks = f"join chunks k on k.vector = e.id {scope.versions}"
    settled = connection.execute(
        f"select k.key, e.id, e.vector <#> %s::vector as distance, vector_send(e.vector) from {table} e {chunks}"
        f" where e.settled and {scope.condition} order by distance limit %s".encode(),
        values,
    ).fetchall()
    fresh = _fresh(connection, scope, values, 4 * count)
    if len(fresh) < count:
        fresh = _fresh(connection, scope, values, None)
    served = len(settled) >= count
    if scope.query.mode == "hybrid" or not served:
        connection.execute(_FREE)
    return [_near(row) for row in (*settled, *fresh)] if served else None


def _fresh(
    connection: Connection, scope: _Scope, values: tuple[object, ...], nearest: int | None
) -> list[tuple[object, ...]]:
    """The visible ones among the nearest fresh vectors; None: among all of them."""
    table = f"vectors_{scope.where.model}"
    return connection.execute(
        f"with fresh as materialized (select e.id, {_COMPARED} as distance from {table} e where not e.settled"
        " order by distance limit %s), near as materialized (select k.key, e.id, e.distance from fresh e"
        f" join chunks k on k.vector = e.id {scope.versions} where {scope.condition} order by e.distance limit %s)"
        f" select key, near.id, distance, vector_send(e.vector) from near join {table} e on e.id = near.id".encode(),
        (values[0], nearest, *values[1:]),
    ).fetchall()


_COMPARED = "vector_negative_inner_product(e.vector, %s::vector)"
"""As a function, so that no index is used."""


def _among_all(connection: Connection, scope: _Scope, vector: Vector, count: int) -> list[_Near]:
    """Compares every visible vector."""
    table = f"vectors_{scope.where.model}"
    rows = connection.execute(
        f"with near as materialized (select k.key, e.id, {_COMPARED} as distance"
        f" from {scope.tables} join {table} e on e.id = k.vector where {scope.condition}"
        f" order by distance, k.key limit %s) select near.key, near.id, distance, vector_send(e.vector)"
        f" from near join {table} e on e.id = near.id order by distance, near.key".encode(),
        (vector_text(vector), *scope.values, count),
    ).fetchall()
    return [_near(row) for row in rows]


def _near(row: Sequence[object]) -> _Near:
    return _Near(int(str(row[0])), int(str(row[1])), float(str(row[2])), _bytes(row[3]))


def _bytes(value: object) -> bytes:
    assert isinstance(value, bytes)
    return value


def _rescored(near: Sequence[_Near], vector: Vector) -> list[Candidate]:
    """In float64 from the stored numbers; equal vectors have equal scores."""
    asked = vector.astype(np.float64)
    scores = {one.vector: float(vector_of(one.numbers) @ asked) for one in near}
    found = [Candidate(one.key, scores[one.vector]) for one in near]
    return sorted(found, key=lambda one: (-one.score, one.key))


def _by_words(connection: Connection, scope: _Scope, depth: int) -> list[Candidate]:
    """BM25 over visible chunks: all of them count for the weights; those that pass the filter are ranked."""
    asked = Counter(scope.query.terms)
    if not asked:
        return []
    rows = _holders(connection, scope, list(asked))
    if len(rows) == 0:
        return []
    total = figures(connection, scope.where.number, scope.query.as_of, canary=scope.query.canary)
    lengths, matched = rows[:, 1].astype(np.float64), rows[:, 2].astype(bool)
    scores = np.zeros(len(rows))
    for place, count in enumerate(asked.values()):
        held = rows[:, 3 + place].astype(np.float64)
        weight = ranking.idf(int(np.count_nonzero(held)), total.chunks) * count
        scores += ranking.term_scores(held, lengths, weight=weight, mean_length=total.length / total.chunks)
    keys, scores = rows[matched, 0], scores[matched]
    best = np.lexsort((keys, -scores))[:depth]
    return [Candidate(int(keys[one]), float(scores[one])) for one in best]


def _holders(connection: Connection, scope: _Scope, words: Sequence[str]) -> NDArray[np.int64]:
    """Visible chunks with any of the terms: key, length, whether they pass the filter, and the count of each term."""
    bound = [escaped(word) for word in words]
    filtered, values = filter_sql(scope.query.where)
    times = ", ".join("coalesce(p.counts[array_position(p.terms, %s::text)], 0)" for _ in bound)
    rows = connection.execute(
        f"select k.key, k.length, coalesce({filtered}, false)::int, {times} from passages p join chunks k on k.key = p.chunk"
        f" join versions v on v.key = k.version {'join contents c on c.version = v.key' if scope.query.where else ''}"
        f" where p.terms && %s::text[] and k.generation = %s and v.canary = %s and not v.deleted"
        f" and {visible_sql(scope.query.as_of)}".encode(),
        (*values, *bound, bound, *scope.values[:4]),
    ).fetchall()
    return np.array(rows, dtype=np.int64).reshape(len(rows), 3 + len(bound))


def _hits(
    connection: Connection,
    query: StoreQuery,
    best: Sequence[Candidate],
    by_meaning: Sequence[Candidate],
    by_words: Sequence[Candidate],
) -> list[Hit]:
    chosen = best[: query.limit]
    rows = connection.execute(
        b"select k.key, c.document, c.name, p.index, p.text, p.headings, c.title, c.metadata,"
        b" v.visible_from from chunks k join passages p on p.chunk = k.key"
        b" join versions v on v.key = k.version join contents c on c.version = v.key where k.key = any(%s)",
        ([one.key for one in chosen],),
    ).fetchall()
    told = {int(str(row[0])): row[1:] for row in rows}
    meaning = {one.key: (rank, one.score) for rank, one in enumerate(by_meaning, 1)}
    words = {one.key: (rank, one.score) for rank, one in enumerate(by_words, 1)}
    hits: list[Hit] = []
    for one in chosen:
        document, version, index, text, headings, title, metadata, seen = (str(value) for value in told[one.key])
        vector_rank, vector_score = meaning.get(one.key, (None, None))
        keyword_rank, keyword_score = words.get(one.key, (None, None))
        hits.append(
            Hit(
                unescaped(document), unescaped(version), int(index), unescaped(text), one.score,
                tuple(json.loads(headings)), unescaped(title), loaded(metadata),
                vector_rank, vector_score, keyword_rank, keyword_score, int(seen),
            )
        )  # fmt: skip
    return hits
