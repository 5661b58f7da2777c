"""Feeds rows of the file into the index: all of them at first, then those of newer transactions. Streams rows; keeps few in memory."""

import sqlite3

import numpy as np

from headrace.knowledge.sqlite.memory_index import MemoryIndex
from headrace.knowledge.sqlite.terms import unpack

_ROWS = 4_096


def catch_up(index: MemoryIndex, connection: sqlite3.Connection) -> None:
    """Brings the index to the state of the snapshot."""
    seq, purged = connection.execute("SELECT seq, purged FROM head").fetchone()
    if seq == index.seq:
        return
    changes = _read_vectors(index, connection)
    changes += _read_revisions(index, connection)
    changes += _read_chunks(index, connection)
    if index.seq < 0:
        index.purged = purged
    if purged > index.purged:
        _forget_purged(index, connection)
        index.purged, changes = purged, changes + 1
    if changes:
        index.changed()
    index.seq = seq


def _read_vectors(index: MemoryIndex, connection: sqlite3.Connection) -> int:
    one = index.generation
    last = int(index.vector_keys.values[-1]) if len(index.vector_keys) else -1
    # A plus keeps SQLite from choosing the wrong index: a model's hashes here, versions by key below.
    cursor = connection.execute(
        "SELECT key, vector FROM vectors WHERE key > ? AND +model = ? AND length(vector) = ? ORDER BY key",
        (last, one.model_number, 4 * one.dimension),
    )
    count = 0
    while rows := cursor.fetchmany(_ROWS):
        keys, blobs = zip(*rows, strict=True)
        index.vectors.extend(np.frombuffer(b"".join(blobs), np.float32).reshape(len(rows), one.dimension))
        index.vector_keys.extend(np.array(keys, np.int64))
        count += len(rows)
    return count


def _read_revisions(index: MemoryIndex, connection: sqlite3.Connection) -> int:
    columns = "SELECT key, canary, visible_from, visible_to, valid_from, valid_to FROM revisions"
    if index.seq < 0:
        cursor = connection.execute(f"{columns} WHERE NOT deleted ORDER BY key")
    else:
        cursor = connection.execute(f"{columns} WHERE seq > ? AND NOT deleted ORDER BY +key", (index.seq,))
    count = 0
    while rows := cursor.fetchmany(_ROWS):
        index.intervals.put(np.array(rows, np.int64))
        count += len(rows)
    return count


def _read_chunks(index: MemoryIndex, connection: sqlite3.Connection) -> int:
    last = int(index.keys.values[-1]) if len(index.keys) else -1
    cursor = connection.execute(
        f"SELECT key, revision, length, vector, terms FROM chunks_{index.generation.number} WHERE key > ? ORDER BY key",
        (last,),
    )
    count = 0
    while rows := cursor.fetchmany(_ROWS):
        first = len(index.keys)
        numbers = np.array([row[:4] for row in rows], np.int64)
        terms, counts, sizes = unpack([row[4] for row in rows])
        index.keys.extend(numbers[:, 0])
        index.slots.extend(index.intervals.slots(numbers[:, 1]))
        index.lengths.extend(numbers[:, 2])
        index.vector_places.extend(np.searchsorted(index.vector_keys.values, numbers[:, 3]))
        places = np.arange(first, first + len(rows), dtype=np.int32)
        index.postings.add(terms, np.repeat(places, sizes), counts)
        count += len(rows)
    return count


def _forget_purged(index: MemoryIndex, connection: sqlite3.Connection) -> None:
    """Versions that are no longer in the file."""
    alive = np.fromiter((row[0] for row in connection.execute("SELECT key FROM revisions")), np.int64)
    gone = np.flatnonzero(~np.isin(index.intervals.keys.values, alive, assume_unique=True))
    index.intervals.forget(gone)
    index.garbage = float(np.isin(index.slots.values, gone).mean()) if len(index.slots) else 0.0
