"""Each row with the latest row of another stream that is not later than it.

Whether a row is late, its own side's watermark alone decides. A row of the left side comes out once the watermarks of both sides have
passed it, or its own side has ended, or the right side is silent (`silences`). Rows come out in order of event time; those behind an
end of the left side after those before it. So rows and late rows follow from each side's sequence, however the sides are interleaved.
"""

from typing import Any

import numpy as np
import pyarrow as pa

from headrace.streams.duckdb.arrow_form import inner_schema
from headrace.streams.duckdb.chunk_store import ChunkStore
from headrace.streams.duckdb.connection import Database
from headrace.streams.duckdb.flow import FOREVER, Flow, Report, Times, put, times, without
from headrace.streams.duckdb.silences import Silences
from headrace.streams.duckdb.window_step import in_order, where
from headrace.streams.expression import Slot
from headrace.streams.logical_plan import StreamJoin
from headrace.streams.watermark import BEGINNING

LEFT, RIGHT = 0, 1
PRUNE_ROWS = 50_000
"""Old versions are dropped once so many rows have come to those that were kept, or twice as many."""


class JoinStep:
    """Keeps rows of the left side that wait, and of the right side the versions that may still be asked for.

    Hidden columns of the left rows: `_a` arrival, `_l` how many ends of the left side came before. Of the right rows: `_e` how many
    silences came before.
    """

    def __init__(
        self,
        database: Database,
        join: StreamJoin,
        right: tuple[Slot, ...],
        prefix: str,
        *,
        named: bool,
        shared: bool = False,
    ) -> None:
        """`shared`: an input feeds both sides."""
        self._database, self._named = database, named
        self._right_columns = [slot.column for slot in right]
        self._no_versions: pa.Table = inner_schema(right, ("_t", "_e")).empty_table()
        self._stores = (ChunkStore(f"{prefix}left/"), ChunkStore(f"{prefix}right/"))
        self._levels = [BEGINNING, BEGINNING]
        """Each side's watermark."""
        self._silences = Silences(shared=shared)
        self._arrived = 0
        """The newest arrival on the left."""
        self._idle = False
        """The left side is."""
        self._part = 0
        """How many ends of the left side have been passed on."""
        self._ends: list[int] = []
        """The left watermark at each end that has not been passed on."""
        self._given = BEGINNING
        """The rows of this part that are earlier have come out."""
        self._level = BEGINNING
        """The watermark of what comes out."""
        self._pruned_rows = 0
        self._keys = ([slot.column for slot, _ in join.on], [slot.column for _, slot in join.on])
        word = "ASOF LEFT JOIN" if join.kind == "LEFT" else "ASOF JOIN"
        same = " AND ".join(f"l.{one.column} = r.{other.column}" for one, other in join.on)
        partition = ", ".join([*self._keys[RIGHT], "_t"])
        last = f"SELECT * FROM rhs QUALIFY row_number() OVER (PARTITION BY {partition} ORDER BY _o DESC) = 1"
        self._sql = (
            f"SELECT l._o AS l, r._o AS r FROM lhs AS l {word} ({last}) AS r ON {same} AND l._t >= r._t ORDER BY l._o"
        )

    def run(self, port: int, flow: Flow, report: Report) -> Flow:
        (self._take_left if port == LEFT else self._take_right)(flow, report)
        rows, final = self._give_out()
        self._prune()
        idle = self._idle and not self._ends and self._given >= self._levels[LEFT]
        mine = flow if port == LEFT else Flow(None)
        return Flow(rows, self._level, idle, final, mine.arrived, mine.reached)

    def _take_left(self, flow: Flow, report: Report) -> None:
        if flow.rows is not None and flow.rows.num_rows:
            rows = self._in_time(flow.rows, report, "_b", "_i", *(() if self._named else ("_id", "_key", "_origin")))
            arrivals = np.maximum.accumulate(np.maximum(times(rows, "_g"), self._arrived))
            if len(arrivals):
                self._arrived = int(arrivals[-1])
            part = np.full(rows.num_rows, self._part + len(self._ends), np.int64)
            self._stores[LEFT].append(put(put(rows, "_a", arrivals), "_l", part))
        self._levels[LEFT] = max(self._levels[LEFT], flow.level)
        self._idle = flow.idle
        if flow.final:
            self._ends.append(self._levels[LEFT])

    def _take_right(self, flow: Flow, report: Report) -> None:
        if flow.arrived is not None:
            self._silences.end(flow.arrived)
        if flow.rows is not None and flow.rows.num_rows:
            rows = self._in_time(flow.rows, report, "_b", "_i", "_id", "_key", "_origin", "_n", "_g")
            number = np.full(rows.num_rows, self._silences.number, np.int64)
            self._stores[RIGHT].append(put(rows, "_e", number))
        self._levels[RIGHT] = max(self._levels[RIGHT], flow.level)
        if flow.idle or flow.final:
            self._silences.begin(ended=flow.final)
        if flow.reached is not None:
            self._silences.lasts(flow.reached)

    def _in_time(self, rows: pa.Table, report: Report, *unwanted: str) -> pa.Table:
        """The rows that are not behind their own side's watermark."""
        if "_b" not in rows.column_names:
            return without(rows, *unwanted).combine_chunks()
        moments, before = times(rows), times(rows, "_b")
        late = moments < before
        for place in np.flatnonzero(late).tolist():
            _report_late(rows, place, int(before[place] - moments[place]), report)
        return where(without(rows, *unwanted), ~late).combine_chunks()

    def _give_out(self) -> tuple[pa.Table | None, bool]:
        """The rows whose partner is certain, and whether the left side's end follows them."""
        ended = bool(self._ends)
        until = min(FOREVER if ended else self._levels[LEFT], self._first_that_waits())
        due, kept = list[pa.Table](), list[pa.Table]()
        for table in self._stores[LEFT]:
            mask = self._here(table) & (times(table) < until)
            kept.append(where(table, ~mask))
            if mask.any():
                due.append(where(table, mask))
        self._stores[LEFT].replace(kept)
        self._given = max(self._given, until)
        self._level = max(self._level, min(until, self._ends[0] if ended else until))
        final = ended and until == FOREVER
        if final:
            self._ends.pop(0)
            self._part, self._given = self._part + 1, BEGINNING
        return self._joined(due) if due else None, final

    def _here(self, table: pa.Table) -> Any:
        return times(table, "_l") == self._part

    def _first_that_waits(self) -> int:
        """The event time of the first left row of this part that must wait for the right side."""
        first = FOREVER
        for table in self._stores[LEFT]:
            moments = times(table)
            waits = self._here(table) & (moments >= self._levels[RIGHT]) & ~self._silences.cover(times(table, "_a"))
            if waits.any():
                first = min(first, int(moments[waits].min()))
        return first

    def _joined(self, due: list[pa.Table]) -> pa.Table:
        left, _ = in_order(pa.concat_tables(due))
        left = left.combine_chunks()
        right = list(self._stores[RIGHT])
        versions = pa.concat_tables(right).combine_chunks() if right else self._no_versions
        seen = self._silences.seen_by(times(left, "_a"))
        pairs = [self._pairs(left, versions, seen, number) for number in np.unique(seen).tolist()]
        found = pa.concat_tables(pairs) if len(pairs) == 1 else pa.concat_tables(pairs).sort_by("l")
        rows = without(left, "_a", "_l").take(found["l"])
        chosen = versions.select(self._right_columns).take(found["r"])
        return pa.table([*chosen.columns, *rows.columns], names=[*chosen.column_names, *rows.column_names])

    def _pairs(self, left: pa.Table, versions: pa.Table, seen: Times, number: int) -> pa.Table:
        """Places of the left rows that see versions up to `number`, and of their versions."""
        mine = where(_numbered(left.select([*dict.fromkeys(self._keys[LEFT]), "_t"])), seen == number)
        known = _numbered(versions.select([*dict.fromkeys(self._keys[RIGHT]), "_t"]))
        self._database.register("lhs", mine)
        self._database.register("rhs", where(known, times(versions, "_e") <= number))
        return self._database.query(self._sql)

    def _prune(self) -> None:
        """Drops versions that a newer one has replaced for every row that can still come."""
        store = self._stores[RIGHT]
        if store.num_rows < 2 * self._pruned_rows + PRUNE_ROWS:
            return
        oldest = min([self._arrived, *(int(times(one, "_a").min()) for one in self._stores[LEFT])])
        number = self._silences.forget(oldest)
        tables = list(store)
        rows = _numbered(pa.concat_tables(tables).select([*dict.fromkeys(self._keys[RIGHT]), "_t", "_e"]))
        self._database.register("rhs", rows)
        partition = ", ".join([*self._keys[RIGHT], f"_t < {self._level}", f"greatest(_e, {number})"])
        newest = f"row_number() OVER (PARTITION BY {partition} ORDER BY _t DESC, _o DESC) = 1"
        found = self._database.query(f"SELECT _o FROM rhs QUALIFY _t >= {self._level} OR {newest}")
        mask = np.zeros(rows.num_rows, np.bool_)
        mask[times(found, "_o")] = True
        borders = np.cumsum([one.num_rows for one in tables])[:-1]
        store.replace([where(one, part) for one, part in zip(tables, np.split(mask, borders), strict=True)])
        self._pruned_rows = store.num_rows

    def snapshot(self) -> dict[str, bytes | None]:
        return {**self._stores[LEFT].snapshot(), **self._stores[RIGHT].snapshot()}

    def progress(self) -> dict[str, Any]:
        return {
            "levels": self._levels, "level": self._level, "given": self._given, "part": self._part, "ends": self._ends,
            "arrived": self._arrived, "idle": self._idle, "silences": self._silences.progress(),
        }  # fmt: skip

    def restore(self, entries: dict[str, bytes], progress: dict[str, Any]) -> None:
        """Takes over a state; one of version 1 knew neither arrivals nor silences."""
        self._levels, self._level = list(progress["levels"]), progress["level"]
        for store in self._stores:
            store.restore(entries)
            store.replace([_completed(one) for one in store])
        if "silences" in progress:
            self._given, self._part, self._ends = progress["given"], progress["part"], list(progress["ends"])
            self._arrived, self._idle = progress["arrived"], progress["idle"]
            self._silences.restore(progress["silences"])
        else:
            self._given = self._level
            if not progress["holds"][RIGHT]:
                self._silences.begin(ended=False)
        left = self._stores[LEFT]
        left.replace([where(one, (times(one, "_l") > self._part) | (times(one) >= self._given)) for one in left])


def _completed(table: pa.Table) -> pa.Table:
    """Rows that were kept by version 1, with the columns that they lack."""
    zeros = np.zeros(table.num_rows, np.int64)
    if "_g" not in table.column_names:
        return table if "_e" in table.column_names else put(table, "_e", zeros)
    if "_a" in table.column_names:
        return table
    return put(put(table, "_a", np.maximum.accumulate(times(table, "_g"))), "_l", zeros)


def _numbered(table: pa.Table) -> pa.Table:
    return put(table, "_o", np.arange(table.num_rows, dtype=np.int64))


def _report_late(rows: pa.Table, place: int, by_ms: int, report: Report) -> None:
    if "_i" in rows.column_names:
        report.late.append((rows["_i"][place].as_py(), by_ms))
    else:
        report.late_between(rows, place, by_ms)
