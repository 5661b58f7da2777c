"""Which ids a topic contains: read once, then followed.

They are in a temporary SQLite file private to this process and unlinked from the start: a topic may have more ids than fit in memory, and
a file that outlived the process could describe a topic that has since been deleted. For each id it keeps 16 bytes and the
newest offset.
"""

import sqlite3
import threading
from collections.abc import Collection, Iterable
from itertools import islice

from headrace.log.kafka.broker import Broker, Partition
from headrace.log.kafka.reading import Reader
from headrace.log.record import Record
from headrace.log.redaction import id_digest

_PER_LOOKUP = 500
_FORGET_EVERY = 50_000
"""Records followed before the ids of dropped ones are purged."""
_MEMORY_KIBIBYTES = 8_192


class Identities:
    """Thread-safe."""

    def __init__(self, broker: Broker, reader: Reader) -> None:
        self._broker, self._reader = broker, reader
        self._lock = threading.RLock()
        self._file = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        for setting in ("journal_mode=OFF", "synchronous=OFF", f"cache_size=-{_MEMORY_KIBIBYTES}", "temp_store=FILE"):
            self._file.execute(f"PRAGMA {setting}").fetchall()
        self._numbers: dict[Partition, int] = {}
        self._read_to: dict[Partition, int] = {}
        self._since: dict[Partition, int] = {}
        self._made = 0
        self._deletions, self._seen = 0, 0
        """Deletions seen, and deletions after which everything was forgotten."""

    def held(self, topic: str, place: Partition, ids: Iterable[str], since: int) -> set[str]:
        """Which of the ids a partition contains at or after `since`, up to its current end."""
        found, remaining = set[str](), iter({id_digest(one): one for one in ids}.items())
        with self._lock:
            table = self._follow(topic, place)
            while some := dict(islice(remaining, _PER_LOOKUP)):
                marks = ",".join("?" * len(some))
                rows = self._file.execute(
                    f"SELECT digest FROM {table} WHERE digest IN ({marks}) AND offset >= ?", (*some, since)
                )
                found.update(some[digest] for (digest,) in rows)
        return found

    def newest(self, topic: str, place: Partition, record_id: str) -> int | None:
        """The offset of an id's newest record. The first call reads the whole topic; later calls read what is new."""
        with self._lock:
            table = self._follow(topic, place)
            row = self._file.execute(f"SELECT offset FROM {table} WHERE digest = ?", (id_digest(record_id),)).fetchone()
        return None if row is None else row[0]

    def forget(self) -> None:
        """A topic was deleted: later queries read from the start. Takes no lock, because a reader that holds it may call."""
        self._deletions += 1

    def close(self) -> None:
        with self._lock:
            self._file.close()

    def _follow(self, topic: str, place: Partition) -> str:
        """The table's name, once it has every id up to the partition's end."""
        while True:
            table = self._table(place)
            records = self._reader.read(topic, self._read_to[place], partition=place[1])
            if self._seen != self._deletions:  # it may be a different topic now
                continue
            if not records:
                return table
            self._add(table, records)
            self._read_to[place] = records[-1].offset + 1
            self._since[place] += len(records)
            if self._since[place] >= _FORGET_EVERY:
                self._forget_dropped(table, place)

    def _table(self, place: Partition) -> str:
        if self._seen != (deletions := self._deletions):
            for number in self._numbers.values():
                self._file.execute(f"DROP TABLE ids_{number}")
            self._numbers, self._read_to, self._since, self._seen = {}, {}, {}, deletions
        if place not in self._numbers:
            self._made += 1
            self._file.execute(
                f"CREATE TABLE ids_{self._made}(digest BLOB PRIMARY KEY, offset INTEGER NOT NULL) WITHOUT ROWID"
            )
            self._numbers[place], self._read_to[place], self._since[place] = self._made, 0, 0
        return f"ids_{self._numbers[place]}"

    def _add(self, table: str, records: Collection[Record]) -> None:
        self._file.execute("BEGIN")
        self._file.executemany(
            f"INSERT OR REPLACE INTO {table} VALUES (?, ?)", ((id_digest(one.id), one.offset) for one in records)
        )
        self._file.execute("COMMIT")

    def _forget_dropped(self, table: str, place: Partition) -> None:
        self._since[place] = 0
        self._file.execute(f"DELETE FROM {table} WHERE offset < ?", (self._broker.starts([place])[place],))
