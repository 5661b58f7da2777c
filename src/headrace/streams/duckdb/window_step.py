"""TUMBLE, HOP and CUMULATE: rows wait until their windows have closed."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from headrace.streams.duckdb.chunk_store import ChunkStore
from headrace.streams.duckdb.flow import FOREVER, Flow, Report, Times, put, times, without
from headrace.streams.duckdb.numbers import Bits, from_bits, from_numbers
from headrace.streams.duckdb.window_output import WindowOutput
from headrace.streams.logical_plan import Frame
from headrace.streams.watermark import BEGINNING
from headrace.streams.windows import Assignment, assign, first_end, last_end

FIRE_ROWS = 400_000
"""Rows handed to DuckDB at once, where windows overlap: fewer windows at a time, the same rows in the same order."""


class LateRows:
    """Sets rows aside all of whose windows have closed."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    def split(self, rows: pa.Table, closed: int, report: Report) -> tuple[pa.Table, Times]:
        """The rows that are in time, and the watermark before each; `closed`: windows up to here have been given out."""
        moments = times(rows)
        before = np.full(len(moments), closed, np.int64)
        if "_b" in rows.column_names:
            before = np.maximum(before, times(rows, "_b"))
        ends = last_end(moments, self._frame)
        late = ends <= before
        if not late.any():
            return rows, before
        for place in np.flatnonzero(late).tolist():
            self.report(rows, place, int(before[place] - ends[place]), report)
        return rows.filter(from_bits(~late)), before[~late]

    def report(self, rows: pa.Table, place: int, by_ms: int, report: Report) -> None:
        if "_i" in rows.column_names:
            report.late.append((rows["_i"][place].as_py(), by_ms))
        else:
            report.late_between(rows, place, by_ms)


class WindowStep:
    """Keeps the rows of open windows and gives each window out once, at close."""

    def __init__(self, frame: Frame, output: WindowOutput, prefix: str) -> None:
        self._frame, self._output = frame, output
        self._late = LateRows(frame)
        self._store = ChunkStore(f"{prefix}rows/")
        self._closed = BEGINNING
        """Every window that ends here or before has been given out."""

    def run(self, port: int, flow: Flow, report: Report) -> Flow:
        del port
        new, before = None, np.empty(0, np.int64)
        if flow.rows is not None and flow.rows.num_rows:
            new, before = self._late.split(flow.rows, self._closed, report)
            new = without(new, "_b", "_i", "_n", "_id", "_key", "_origin").combine_chunks()
        until = FOREVER if flow.final else flow.level
        out = self._fire(new, before, until, report)
        self._closed = max(self._closed, flow.level)
        return flow.carry(out)

    def _fire(self, new: pa.Table | None, before: Times, until: int, report: Report) -> pa.Table | None:
        """Gives out every window that ends after `closed` and not after `until`; keeps the rows that other windows need."""
        due, befores, kept = list[pa.Table](), list[Times](), list[pa.Table]()
        for table, (lowest, _) in self._store.spans("_t"):
            mask, rest = self._split(table, until) if lowest < until else (None, table)
            kept.append(rest)
            if mask is not None:
                due.append(where(table, mask))
                befores.append(np.full(due[-1].num_rows, BEGINNING, np.int64))
        self._store.replace(kept)
        if new is not None:
            mask, rest = self._split(new, until)
            self._store.append(rest)
            if mask is not None:
                due.append(where(new, mask))
                befores.append(before[mask])
        after, self._closed = self._closed, max(self._closed, until if until != FOREVER else self._closed)
        if not due:
            return None
        rows, order = in_order(pa.concat_tables(due))
        row_before = np.concatenate(befores)[order]
        if until == FOREVER:
            until = self._closed = max(self._closed, int(last_end(times(rows), self._frame).max()))
        tables = list(self._give_out(rows, row_before, after, until, report))
        return pa.concat_tables(tables) if tables else None

    def _split(self, table: pa.Table, until: int) -> tuple[Bits | None, pa.Table]:
        """Which rows belong to a window that closes now (None: none), and the rows that later windows need."""
        moments = times(table)
        due = first_end(moments, self._frame) <= until
        if not due.any():
            return None, table
        return due, where(table, last_end(moments, self._frame) > until)

    def _give_out(self, rows: pa.Table, before: Times, after: int, until: int, report: Report) -> Iterator[pa.Table]:
        moments = times(rows)
        for low, high in slices(moments, self._frame, after, until):
            found = assign(moments, before, self._frame, low, high)
            if len(found.rows):
                out = self._output.run(placed(rows, found), report)
                if out is not None:
                    yield out

    def snapshot(self) -> dict[str, bytes | None]:
        return self._store.snapshot()

    def progress(self) -> dict[str, Any]:
        return {"closed": self._closed}

    def restore(self, entries: dict[str, bytes], progress: dict[str, Any]) -> None:
        self._closed = progress["closed"]
        self._store.restore(entries)
        self._store.replace([where(one, last_end(times(one), self._frame) > self._closed) for one in self._store])


def where(table: pa.Table, mask: Bits) -> pa.Table:
    return table if mask.all() else table.filter(from_bits(mask))


def in_order(rows: pa.Table) -> tuple[pa.Table, Times | slice]:
    """The rows by event time, then by input, and where each of them stood."""
    moments = times(rows)
    if (np.diff(moments) >= 0).all():
        return rows, slice(None)
    order = np.argsort(moments, kind="stable")
    return rows.take(from_numbers(order)), order


def placed(rows: pa.Table, found: Assignment) -> pa.Table:
    """Each row in each of its windows."""
    once = len(found.rows) == rows.num_rows and bool((np.diff(found.rows) == 1).all())
    table = rows if once else rows.take(from_numbers(found.rows))
    return put(put(put(table, "_o", found.rows), "_ws", found.starts), "_we", found.ends)


def slices(moments: Times, frame: Frame, after: int, until: int) -> Iterator[tuple[int, int]]:
    """Cuts (after, until] at window ends, so that no slice holds many more than FIRE_ROWS placed rows."""
    if frame.overlap == 1 or len(moments) * frame.overlap <= FIRE_ROWS:
        yield after, until
        return
    first, last = first_end(moments, frame), last_end(moments, frame)
    low, high = max(after, int(first.min()) - 1), min(until, int(last.max()))
    while low < high:
        step = frame.step_ms
        held = int(((first <= low + step) & (last > low)).sum())
        while low + step < high and held * (step // frame.step_ms + 1) <= FIRE_ROWS:
            step += frame.step_ms
            held = int(((first <= low + step) & (last > low)).sum())
        yield low, min(low + step, high)
        low += step
