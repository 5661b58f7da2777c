"""Terms by number, and a chunk's terms as bytes: their numbers, then their counts, four bytes each."""

import sqlite3
from array import array
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

_REMEMBERED = 200_000
_PER_LOOKUP = 500

Numbers = NDArray[np.uint32]


class TermIds:
    """The writer's cache of the table `terms`."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}
        self._fresh: dict[str, int] = {}

    def ids(self, connection: sqlite3.Connection, terms: Iterable[str]) -> dict[str, int]:
        """The number of each term; adds new ones."""
        wanted = set(terms)
        found = {term: number for term in wanted if (number := self._known.get(term)) is not None}
        missing = [term for term in wanted if term not in found]
        if missing:
            read = term_ids(connection, missing)
            new = sorted(term for term in missing if term not in read)
            if new:
                connection.executemany("INSERT INTO terms(term) VALUES (?)", ((term,) for term in new))
                read.update(term_ids(connection, new))
            self._fresh.update(read)
            self._known.update(read)
            found.update(read)
        return found

    def keep(self) -> None:
        """The transaction was committed."""
        self._fresh.clear()
        if len(self._known) > _REMEMBERED:
            self._known.clear()

    def undo(self) -> None:
        """The transaction was rolled back."""
        for term in self._fresh:
            self._known.pop(term, None)
        self._fresh.clear()


def term_ids(connection: sqlite3.Connection, terms: list[str]) -> dict[str, int]:
    """The numbers of the terms that exist."""
    found: dict[str, int] = {}
    for start in range(0, len(terms), _PER_LOOKUP):
        some = terms[start : start + _PER_LOOKUP]
        marks = ",".join("?" * len(some))
        found.update(connection.execute(f"SELECT term, id FROM terms WHERE term IN ({marks})", some).fetchall())
    return found


def pack(terms: Mapping[str, int], ids: Mapping[str, int]) -> bytes:
    """A chunk's terms and counts as bytes."""
    return array("I", [*map(ids.__getitem__, terms), *terms.values()]).tobytes()


def unpack(blobs: list[bytes]) -> tuple[Numbers, Numbers, NDArray[np.int64]]:
    """All chunks' term numbers and counts, concatenated, and how many each chunk has."""
    sizes = np.fromiter((len(blob) // 8 for blob in blobs), np.int64, len(blobs))
    flat = np.frombuffer(b"".join(blobs), np.uint32)
    starts = np.repeat(np.cumsum(sizes) - sizes, sizes)
    places = np.arange(int(sizes.sum()), dtype=np.int64) + starts
    return flat[places], flat[places + np.repeat(sizes, sizes)], sizes
