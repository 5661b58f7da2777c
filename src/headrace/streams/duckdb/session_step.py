"""SESSION: windows that grow with their rows and merge where they meet; one row at a time, because each may change them."""

import heapq
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from headrace.streams.duckdb.chunk_store import ChunkStore
from headrace.streams.duckdb.flow import FOREVER, Flow, Report, Times, put, times, without
from headrace.streams.duckdb.window_output import WindowOutput
from headrace.streams.duckdb.window_step import LateRows, in_order, where
from headrace.streams.logical_plan import Frame
from headrace.streams.watermark import BEGINNING


@dataclass(slots=True)
class _Session:
    number: int
    key: Hashable
    start: int
    end: int
    absorbed: list[int] = field(default_factory=list[int])
    """Numbers of the sessions that merged into it."""


class Sessions:
    """The open sessions of every key. A session [start, end) takes a row of its key that it overlaps or touches, as Flink has it."""

    def __init__(self, gap_ms: int) -> None:
        self._gap_ms = gap_ms
        self._by_key: dict[Hashable, list[_Session]] = {}
        self._by_number: dict[int, _Session] = {}
        self._ends: list[tuple[int, int]] = []
        self._closed: list[_Session] = []
        self._next = 0

    def place(self, key: Hashable, moment: int, before: int, *, late: bool = True) -> int:
        """The number of the row's session; −1: the row is late (where `late` allows it). `before`: the watermark before the row."""
        end = moment + self._gap_ms
        met: list[_Session] = []
        for session in list(self._by_key.get(key, ())):
            if session.end <= before:
                self._close(session)
            elif session.start <= end and moment <= session.end:
                met.append(session)
        if met:
            return self._join(met, moment, end)
        if late and end <= before:
            return -1
        session = _Session(self._next, key, moment, end)
        self._next += 1
        self._by_key.setdefault(key, []).append(session)
        self._by_number[session.number] = session
        heapq.heappush(self._ends, (end, session.number))
        return session.number

    def _join(self, met: list[_Session], moment: int, end: int) -> int:
        first, *others = met
        first.start, first.end = min(first.start, moment), max(first.end, end)
        for other in others:
            first.start, first.end = min(first.start, other.start), max(first.end, other.end)
            first.absorbed += [other.number, *other.absorbed]
            self._by_key[first.key].remove(other)
            del self._by_number[other.number]
        return first.number

    def _close(self, session: _Session) -> None:
        mates = self._by_key[session.key]
        mates.remove(session)
        if not mates:
            del self._by_key[session.key]
        del self._by_number[session.number]
        self._closed.append(session)

    def take_closed(self, until: int) -> list[_Session]:
        """The sessions that end at `until` or before, once."""
        while self._ends and self._ends[0][0] <= until:
            _, number = heapq.heappop(self._ends)
            session = self._by_number.get(number)
            if session is None:
                continue
            if session.end <= until:
                self._close(session)
            else:
                heapq.heappush(self._ends, (session.end, number))
        closed, self._closed = self._closed, []
        return closed


class SessionStep:
    """Keeps the rows of open sessions and gives each session out once, at close."""

    def __init__(self, frame: Frame, keys: tuple[str, ...], output: WindowOutput, prefix: str) -> None:
        """`keys`: columns whose values have sessions of their own."""
        self._keys, self._output = keys, output
        self._late = LateRows(frame)
        self._gap_ms = frame.size_ms
        self._sessions = Sessions(frame.size_ms)
        self._store = ChunkStore(f"{prefix}rows/")
        self._closed = BEGINNING

    def run(self, port: int, flow: Flow, report: Report) -> Flow:
        del port
        if flow.rows is not None and flow.rows.num_rows:
            self._store.append(self._take_in(flow.rows, report))
        until = FOREVER if flow.final else flow.level
        closed = self._sessions.take_closed(until)
        ends = [one.end for one in closed] if flow.final else []
        self._closed = max([self._closed, flow.level, *ends])
        return flow.carry(self._give_out(closed, report))

    def _take_in(self, rows: pa.Table, report: Report) -> pa.Table:
        """The rows that are in time, with the watermark before each (`_b`) and its session (`_s`)."""
        moments = times(rows)
        before = np.full(len(moments), self._closed, np.int64)
        if "_b" in rows.column_names:
            before = np.maximum(before, times(rows, "_b"))
        numbers = self._numbers(rows, moments, before, late=True)
        for place in np.flatnonzero(numbers < 0).tolist():
            self._late.report(rows, place, int(before[place] - moments[place]) - self._gap_ms, report)
        rows = put(put(without(rows, "_i", "_n", "_id", "_key", "_origin"), "_b", before), "_s", numbers)
        return where(rows, numbers >= 0).combine_chunks()

    def _numbers(self, rows: pa.Table, moments: Times, before: Times, *, late: bool) -> Times:
        place = self._sessions.place
        pairs = zip(self._key_values(rows), moments.tolist(), before.tolist(), strict=True)
        return np.array([place(key, moment, mark, late=late) for key, moment, mark in pairs], np.int64)

    def _key_values(self, rows: pa.Table) -> list[Any]:
        columns = [rows[name].to_pylist() for name in self._keys]
        if not columns:
            return [None] * rows.num_rows
        return columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))

    def _give_out(self, closed: list[_Session], report: Report) -> pa.Table | None:
        if not closed:
            return None
        due, kept = list[pa.Table](), list[pa.Table]()
        borders = {number: one for one in closed for number in (one.number, *one.absorbed)}
        first, last = min(one.start for one in closed), max(one.end for one in closed)
        for table, (lowest, highest) in self._store.spans("_t"):
            if highest < first or lowest >= last:
                kept.append(table)
                continue
            numbers = times(table, "_s")
            mask = np.isin(numbers, np.fromiter(borders, np.int64))
            kept.append(where(table, ~mask))
            if mask.any():
                due.append(_bordered(where(table, mask), borders))
        self._store.replace(kept)
        if not due:
            return None
        rows, _ = in_order(pa.concat_tables(due))
        return self._output.run(put(rows, "_o", np.arange(rows.num_rows)), report)

    def snapshot(self) -> dict[str, bytes | None]:
        return self._store.snapshot()

    def progress(self) -> dict[str, Any]:
        return {"closed": self._closed}

    def restore(self, entries: dict[str, bytes], progress: dict[str, Any]) -> None:
        """Places the rows again, each at the watermark before it, and drops those of sessions that had closed."""
        self._closed = progress["closed"]
        self._store.restore(entries)
        tables = [put(one, "_s", self._numbers(one, times(one), times(one, "_b"), late=False)) for one in self._store]
        self._store.replace(tables)
        gone = {number for one in self._sessions.take_closed(self._closed) for number in (one.number, *one.absorbed)}
        numbers = np.fromiter(gone, np.int64)
        self._store.replace([where(one, ~np.isin(times(one, "_s"), numbers)) for one in self._store])


def _bordered(rows: pa.Table, borders: dict[int, _Session]) -> pa.Table:
    """The rows with start and end of their session."""
    numbers, place = np.unique(times(rows, "_s"), return_inverse=True)
    starts = np.array([borders[number].start for number in numbers.tolist()], np.int64)
    ends = np.array([borders[number].end for number in numbers.tolist()], np.int64)
    return put(put(without(rows, "_s", "_b"), "_ws", starts[place]), "_we", ends[place])
