"""The approximate index of what is currently visible: usearch, half precision, by chunk key.

It is built in the background while queries use exact search, and queries then keep it current: each adds a few of the new chunks
and drops removed ones; new chunks not yet added are scanned. If a fifth has changed, or more is new than
can be scanned quickly, it is rebuilt next to the old one. It is saved via a temporary file and rename, with a digest, because a file
truncated by a kill would be read as garbage; a file that does not match is rebuilt.
"""

import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

import numpy as np
from numpy.typing import NDArray
from usearch.index import Index

from headrace.foundation.errors import HeadraceError
from headrace.foundation.failpoints import failpoint
from headrace.knowledge.query import Vector

CHURN = 0.2
"""Fraction of the index that may change before it is rebuilt."""
_LEAST_PENDING = 2_048
_PENDING = 0.05
"""Fraction of the index that may wait to be added."""
_TAKEN_IN = 8
"""Chunks that one query adds: a few milliseconds."""
_AT_ONCE = 1_024
_CONNECTIVITY = 16
_EXPANSION_ADD = 128
_EXPANSION_SEARCH = 128
_FORMAT = 1

Places = NDArray[np.int64]
Keys = NDArray[np.int64]
Rows = Callable[[Keys], NDArray[np.float32]]
"""The vectors of chunks by key, from any thread."""

_log = logging.getLogger(__name__)


class Built:
    """An index and its contents."""

    def __init__(self, index: Index, keys: Keys) -> None:
        self.index = index
        self.keys = keys
        """The chunks it contained at first; sorted."""
        self.changes = 0


class Neighbours:
    """For one generation. Guarded by its owner's lock, except in the building thread."""

    def __init__(self, path: Path, store: str, dimension: int, rows: Rows) -> None:
        """`store`: the file's own id, so that an index saved for another store is not used."""
        self._path, self._store, self._dimension, self._rows = path, store, dimension, rows
        self._built: Built | None = None
        self._members = np.zeros(0, np.bool_)
        self._seen: NDArray[np.bool_] | None = None
        self._pending = np.zeros(0, np.int64)
        self._fresh: list[Built] = []
        self._thread: Thread | None = None
        self._stop = Event()
        self._loaded = False

    def near(
        self, keys: Keys, visible: NDArray[np.bool_], question: Vector, count: int
    ) -> tuple[Places, Places] | None:
        """Places of nearby chunks, and places not examined; None: there is no index yet.

        keys: all chunks', sorted; visible: for each chunk.
        """
        self._adopt(keys)
        if self._built is None:
            self._build(keys[visible])
            return None
        if visible is not self._seen or len(self._pending):
            self._pending, self._seen = self._follow(keys, visible), visible
        pending = self._pending
        if self._worn(len(pending), len(self._built.index)):
            self._build(keys[visible])
        found = self._built.index.search(question, min(count, len(self._built.index)), threads=1)
        places = np.searchsorted(keys, np.sort(np.asarray(found.keys, np.int64)))
        places = places[visible[places]]
        if len(places) + len(pending) < count:
            return None  # so few that scanning them all is as fast
        return places, pending

    def settle(self) -> None:
        """Waits until no build is running."""
        thread = self._thread
        if thread is not None:
            thread.join()

    def close(self) -> None:
        """Stops a running build."""
        self._stop.set()
        self.settle()

    def _adopt(self, keys: Keys) -> None:
        """Takes the finished build from the thread."""
        if self._fresh:
            self._built = self._fresh.pop()
            self._members = np.zeros(len(keys), np.bool_)
            self._members[np.searchsorted(keys, self._built.keys)] = True
            self._seen = None
        if len(self._members) < len(keys):
            self._members = np.append(self._members, np.zeros(len(keys) - len(self._members), np.bool_))

    def _follow(self, keys: Keys, visible: NDArray[np.bool_]) -> Places:
        """Drops removed chunks and adds some new ones; returns the places of the rest."""
        assert self._built is not None
        gone = np.flatnonzero(self._members & ~visible)
        if len(gone):
            self._built.index.remove(keys[gone])
            self._members[gone] = False
        pending = np.flatnonzero(visible & ~self._members)
        some, rest = pending[-_TAKEN_IN:], pending[:-_TAKEN_IN]
        if len(some):
            self._built.index.add(keys[some], self._rows(keys[some]), threads=1)
            self._members[some] = True
        self._built.changes += len(gone) + len(some)
        return rest

    def _worn(self, pending: int, members: int) -> bool:
        assert self._built is not None
        return self._built.changes > max(_LEAST_PENDING, CHURN * members) or pending > max(
            _LEAST_PENDING, _PENDING * members
        )

    def _build(self, keys: Keys) -> None:
        """Starts a build unless one is running."""
        if self._thread is not None and self._thread.is_alive():
            return
        if self._fresh or self._stop.is_set():
            return
        self._thread = Thread(target=self._work, args=(keys.copy(),), name="headrace-neighbours", daemon=True)
        self._thread.start()

    def _work(self, keys: Keys) -> None:
        try:
            built = self._load(keys) or self._make(self._empty(), keys, keys)
        except (HeadraceError, OSError, RuntimeError, MemoryError) as error:
            _log.warning("could not build %s; queries use exact search: %s", self._path.name, error)
            return
        if built is not None:
            try:
                self._save(built)
            except (OSError, RuntimeError) as error:
                _log.warning("could not save %s; the next process rebuilds it: %s", self._path.name, error)
            self._fresh.append(built)

    def _empty(self) -> Index:
        return Index(
            ndim=self._dimension, metric="ip", dtype="f16", connectivity=_CONNECTIVITY, expansion_add=_EXPANSION_ADD,
            expansion_search=_EXPANSION_SEARCH,
        )  # fmt: skip

    def _make(self, index: Index, new: Keys, keys: Keys) -> Built | None:
        """Adds `new`; None if it was told to stop."""
        for first in range(0, len(new), _AT_ONCE):
            if self._stop.is_set():
                return None
            some = new[first : first + _AT_ONCE]
            index.add(some, self._rows(some), threads=1)
        return Built(index, keys)

    def _load(self, keys: Keys) -> Built | None:
        """The saved index, brought up to date; None: missing, unreadable, from another store, or too old."""
        if self._loaded:
            return None
        self._loaded = True
        index = self._read()
        if index is None:
            return None
        held = np.sort(np.asarray(index.keys, np.int64))
        gone, new = np.setdiff1d(held, keys, assume_unique=True), np.setdiff1d(keys, held, assume_unique=True)
        if len(gone) + len(new) > CHURN * len(keys):
            return None
        if len(gone):
            index.remove(gone)
        return self._make(index, new, keys)

    def _read(self) -> Index | None:
        try:
            said = json.loads(self._beside(".json").read_bytes())
            if said != self._described(_digest(self._path)):
                return None
            index = self._empty()
            index.load(str(self._path))
        except (OSError, ValueError, RuntimeError):
            return None
        return index

    def _save(self, built: Built) -> None:
        new, note = self._beside(".new"), self._beside(".json.new")
        built.index.save(str(new))
        new.chmod(0o600)
        note.write_text(json.dumps(self._described(_digest(new))))
        failpoint("knowledge.neighbours.saved")
        new.replace(self._path)
        note.replace(self._beside(".json"))

    def _described(self, digest: str) -> dict[str, object]:
        return {"format": _FORMAT, "store": self._store, "dimension": self._dimension, "digest": digest}

    def _beside(self, ending: str) -> Path:
        return self._path.with_name(self._path.name + ending)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()
