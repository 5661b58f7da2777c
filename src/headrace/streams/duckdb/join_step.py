"""Each row with the latest row of another stream that is not later than it: held until both watermarks have passed."""

from typing import Any

import numpy as np
import pyarrow as pa

from headrace.streams.duckdb.arrow_form import inner_schema
from headrace.streams.duckdb.chunk_store import ChunkStore
from headrace.streams.duckdb.connection import Database
from headrace.streams.duckdb.flow import Flow, Report, put, times, without
from headrace.streams.duckdb.window_step import in_order, where
from headrace.streams.expression import Slot
from headrace.streams.logical_plan import StreamJoin
from headrace.streams.watermark import BEGINNING

LEFT, RIGHT = 0, 1
PRUNE_ROWS = 50_000
"""Old versions are dropped once so many rows have come to those that were kept, or twice as many."""


class JoinStep:
    """Keeps rows of the left side that wait, and of the right side the versions that may still be asked for."""

    def __init__(
        self, database: Database, join: StreamJoin, right: tuple[Slot, ...], prefix: str, *, named: bool
    ) -> None:
        self._database, self._named = database, named
        self._right_columns = [slot.column for slot in right]
        self._no_versions: pa.Table = inner_schema(right, ("_t",)).empty_table()
        self._stores = (ChunkStore(f"{prefix}left/"), ChunkStore(f"{prefix}right/"))
        self._levels = [BEGINNING, BEGINNING]
        self._holds = [True, True]
        self._final = [False, False]
        self._level = BEGINNING
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
        if flow.rows is not None and flow.rows.num_rows:
            self._stores[port].append(self._take_in(port, flow.rows, report))
        self._levels[port] = max(self._levels[port], flow.level)
        self._holds[port], self._final[port] = flow.holds, flow.final
        final = all(self._final)
        holding = [level for level, holds in zip(self._levels, self._holds, strict=True) if holds]
        self._level = max(self._level, min(holding) if holding else max(self._levels))
        rows = self._give_out(everything=final)
        self._prune()
        return Flow(rows, self._level, any(self._holds), final)

    def _take_in(self, port: int, rows: pa.Table, report: Report) -> pa.Table:
        """The rows that are not behind their own side's watermark, nor (on the left) behind what was given out."""
        moments = times(rows)
        before = times(rows, "_b") if "_b" in rows.column_names else np.full(len(moments), BEGINNING, np.int64)
        if port == LEFT:
            before = np.maximum(before, self._level)
        late = moments < before
        for place in np.flatnonzero(late).tolist():
            _report_late(rows, place, int(before[place] - moments[place]), report)
        unwanted = ("_b", "_i") if port == LEFT and self._named else ("_b", "_i", "_id", "_key", "_origin")
        unwanted = unwanted if port == LEFT else (*unwanted, "_n", "_g")
        return where(without(rows, *unwanted), ~late).combine_chunks()

    def _give_out(self, *, everything: bool) -> pa.Table | None:
        due, kept = list[pa.Table](), list[pa.Table]()
        for table in self._stores[LEFT]:
            mask = np.full(table.num_rows, fill_value=True) if everything else times(table) < self._level
            kept.append(where(table, ~mask))
            if mask.any():
                due.append(where(table, mask))
        self._stores[LEFT].replace(kept)
        if not due:
            return None
        left, _ = in_order(pa.concat_tables(due))
        right = list(self._stores[RIGHT])
        versions = pa.concat_tables(right).combine_chunks() if right else self._no_versions
        return self._joined(left.combine_chunks(), versions)

    def _joined(self, left: pa.Table, right: pa.Table) -> pa.Table:
        self._database.register("lhs", _numbered(left.select([*dict.fromkeys(self._keys[LEFT]), "_t"])))
        self._database.register("rhs", _numbered(right.select([*dict.fromkeys(self._keys[RIGHT]), "_t"])))
        pairs = self._database.query(self._sql)
        rows, versions = left.take(pairs["l"]), right.select(self._right_columns).take(pairs["r"])
        return pa.table([*versions.columns, *rows.columns], names=[*versions.column_names, *rows.column_names])

    def _prune(self) -> None:
        """Drops versions that a newer one has replaced for every row that can still come."""
        store = self._stores[RIGHT]
        if store.num_rows < 2 * self._pruned_rows + PRUNE_ROWS:
            return
        tables = list(store)
        rows = _numbered(pa.concat_tables(tables).select([*dict.fromkeys(self._keys[RIGHT]), "_t"]))
        self._database.register("rhs", rows)
        partition = ", ".join([*self._keys[RIGHT], f"_t < {self._level}"])
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
        return {"levels": self._levels, "holds": self._holds, "final": self._final, "level": self._level}

    def restore(self, entries: dict[str, bytes], progress: dict[str, Any]) -> None:
        self._levels, self._holds = list(progress["levels"]), list(progress["holds"])
        self._final, self._level = list(progress["final"]), progress["level"]
        for store in self._stores:
            store.restore(entries)
        kept = [where(one, times(one) >= self._level) for one in self._stores[LEFT]]
        self._stores[LEFT].replace(kept)


def _numbered(table: pa.Table) -> pa.Table:
    return put(table, "_o", np.arange(table.num_rows, dtype=np.int64))


def _report_late(rows: pa.Table, place: int, by_ms: int, report: Report) -> None:
    if "_i" in rows.column_names:
        report.late.append((rows["_i"][place].as_py(), by_ms))
    else:
        report.late_between(rows, place, by_ms)
