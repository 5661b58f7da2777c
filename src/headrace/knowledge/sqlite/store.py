"""The port on SQLite and in-memory indexes."""

import sqlite3
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from headrace.knowledge.generation import Generation
from headrace.knowledge.query import AsOf, ChangedDocument, Counts, Hit, StoreQuery, Vector
from headrace.knowledge.sqlite import documents, generations, purge
from headrace.knowledge.sqlite.apply import apply_batch
from headrace.knowledge.sqlite.chunks import GenerationRow, generation_row
from headrace.knowledge.sqlite.clear import clear
from headrace.knowledge.sqlite.conditions import passing
from headrace.knowledge.sqlite.database import Database
from headrace.knowledge.sqlite.feed import catch_up
from headrace.knowledge.sqlite.hits import read_hits
from headrace.knowledge.sqlite.memory_index import MemoryIndex
from headrace.knowledge.sqlite.neighbours import Neighbours
from headrace.knowledge.sqlite.ranker import Asked, Near, rank
from headrace.knowledge.sqlite.terms import term_ids
from headrace.knowledge.sqlite.vectors import check_question, fetch, keep, missing
from headrace.knowledge.sqlite.writer import Writer
from headrace.knowledge.store import ApplyReport, Backfill, StoreBatch, StoredDocument, StoreOptions

_INDEXES = 3
"""Generations kept in memory: the active one, one being built, one kept."""


_GARBAGE = 0.3
"""Fraction of the chunks in memory that may have been purged."""


class SqliteKnowledgeStore:
    """Creates its writer and index on demand: a process that writes has no index, and one that searches does not write."""

    def __init__(self, options: StoreOptions) -> None:
        self._options = options
        path = options.state / "knowledge" / f"{options.id.path_name}.sqlite"
        self._database = Database(path)
        self._writer = Writer(self._database)
        self._indexes: OrderedDict[int, MemoryIndex] = OrderedDict()
        self._lock = Lock()

    def acquire(self, holder: str) -> int:
        return self._writer.acquire(holder)

    def offset(self, topic: str) -> int:
        with self._database.snapshot() as connection:
            row = connection.execute("SELECT next FROM offsets WHERE topic = ?", (topic,)).fetchone()
            return row[0] if row else 0

    def state(self, key: str) -> bytes | None:
        with self._database.snapshot() as connection:
            row = connection.execute("SELECT value FROM state WHERE key = ?", (key,)).fetchone()
            return row[0] if row else None

    def missing_vectors(self, model: str, hashes: Sequence[str]) -> list[str]:
        with self._database.snapshot() as connection:
            return missing(connection, model, hashes)

    def keep_vectors(self, epoch: int, model: str, vectors: Mapping[str, Vector]) -> None:
        with self._writer.turn(epoch, "knowledge.vectors") as turn:
            keep(turn, model, vectors)

    def apply(self, epoch: int, batch: StoreBatch) -> ApplyReport:
        with self._writer.turn(epoch, "knowledge.apply") as turn:
            return apply_batch(turn, batch)

    def put_generation(self, epoch: int, generation: Generation) -> None:
        with self._writer.turn(epoch, "knowledge.generation") as turn:
            generations.put(turn, generation)

    def generations(self) -> list[Generation]:
        with self._database.snapshot() as connection:
            return generations.listed(connection)

    def drop_generation(self, epoch: int, generation: str) -> None:
        with self._writer.turn(epoch, "knowledge.generation") as turn:
            number = generations.drop(turn, generation)
        self._writer.give_back_room()
        self._forget_saved(number)

    def not_in_generation(self, generation: str, limit: int) -> list[StoredDocument]:
        with self._database.snapshot() as connection:
            return generations.not_in(connection, generation, limit)

    def backfill(self, epoch: int, generation: str, parts: Sequence[Backfill], vectors: Mapping[str, Vector]) -> None:
        with self._writer.turn(epoch, "knowledge.backfill") as turn:
            generations.backfill(turn, generation, parts, vectors)

    def purge(self, epoch: int, before_ms: int) -> int:
        with self._writer.turn(epoch, "knowledge.purge") as turn:
            count = purge.purge(turn, before_ms)
        if count:
            self._writer.give_back_room()
        return count

    def clear(self, epoch: int) -> None:
        with self._writer.turn(epoch, "knowledge.clear") as turn:
            numbers = clear(turn)
        self._writer.give_back_room()
        for number in numbers:
            self._forget_saved(number)

    def search(self, query: StoreQuery) -> list[Hit]:
        with self._database.snapshot() as connection:
            generation = generation_row(connection, query.generation)
        index = self._index(generation)
        with index.lock, self._database.snapshot() as connection:
            generation_row(connection, query.generation)
            vector = check_question(query.vector, generation.dimension) if query.mode != "keyword" else None
            if query.limit < 1:
                return []
            self._catch_up(index, connection)
            ranked = rank(index, self._asked(index, connection, query, vector))
            return read_hits(connection, generation, ranked)

    def counts(self, generation: str, as_of: AsOf) -> Counts:
        with self._database.snapshot() as connection:
            return documents.count(connection, generation, as_of)

    def document(self, document: str, as_of: AsOf) -> StoredDocument | None:
        with self._database.snapshot() as connection:
            return documents.document(connection, document, as_of)

    def changed(self, after: AsOf, upto_ms: int) -> list[ChangedDocument]:
        with self._database.snapshot() as connection:
            return documents.changed(connection, after, upto_ms)

    def close(self) -> None:
        with self._lock:
            indexes = list(self._indexes.values())
            self._indexes.clear()
        for index in indexes:
            index.close()
        self._writer.close()
        self._database.close()

    def settle(self) -> None:
        """Waits until no approximate index is being built: for tests and benchmarks."""
        with self._lock:
            indexes = list(self._indexes.values())
        for index in indexes:
            if index.neighbours is not None:
                index.neighbours.settle()

    def _index(self, generation: GenerationRow) -> MemoryIndex:
        """The generation's index, empty at first; evicts the least recently used one."""
        with self._lock:
            index = self._indexes.get(generation.number)
            if index is None:
                index = self._indexes[generation.number] = MemoryIndex(generation, self._options.exact_up_to)
            self._indexes.move_to_end(generation.number)
            while len(self._indexes) > _INDEXES:
                self._indexes.popitem(last=False)[1].close()
            return index

    def _catch_up(self, index: MemoryIndex, connection: sqlite3.Connection) -> None:
        """Discards an index that stopped halfway or contains much that is gone; the next query reads it again."""
        worn = True
        try:
            catch_up(index, connection)
            worn = index.garbage > _GARBAGE
        finally:
            if worn:
                with self._lock:
                    self._indexes.pop(index.generation.number, None)
                index.close()

    def _asked(
        self, index: MemoryIndex, connection: sqlite3.Connection, query: StoreQuery, vector: Vector | None
    ) -> Asked:
        terms = term_ids(connection, list(dict.fromkeys(query.terms))) if query.mode != "vector" else {}
        allowed = index.chunks_of(passing(connection, query.where)) if query.where else None
        dimension = index.generation.dimension
        return Asked(
            query, vector, terms, allowed, lambda keys: fetch(connection, keys, dimension), self._near(index, query)
        )

    def _near(self, index: MemoryIndex, query: StoreQuery) -> Near | None:
        """The approximate index, if the query is about now and a scan would take long."""
        if query.exact or query.canary or not query.current or query.as_of.timeline != "arrival":
            return None
        if len(index.view(query.as_of, canary=False).places) <= self._options.exact_up_to:
            return None
        neighbours = self._neighbours_of(index)
        return lambda view, question, count: neighbours.near(index.keys.values, view.chunks, question, count)

    def _neighbours_of(self, index: MemoryIndex) -> Neighbours:
        """Created on first use, under the index's lock; dropped with the index."""
        if index.neighbours is None:
            index.neighbours = Neighbours(
                self._saved(index.generation.number), self._database.id, index.generation.dimension,
                lambda keys: self._vectors_of(index, keys),
            )  # fmt: skip
        return index.neighbours

    def _saved(self, number: int) -> Path:
        """Where a generation's approximate index is saved."""
        return self._database.path.with_suffix(f".{number}.usearch")

    def _forget_saved(self, number: int) -> None:
        for saved in self._database.path.parent.glob(f"{self._saved(number).name}*"):
            saved.unlink(missing_ok=True)

    def _vectors_of(self, index: MemoryIndex, keys: NDArray[np.int64]) -> NDArray[np.float32]:
        """Of chunks, from the file; from any thread."""
        places = index.vector_places.values[np.searchsorted(index.keys.values, keys)]
        with self._database.snapshot() as connection:
            return fetch(connection, index.vector_keys.values[places], index.generation.dimension)
