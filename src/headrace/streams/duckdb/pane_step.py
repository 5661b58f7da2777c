"""HOP and CUMULATE whose windows cover each other many times: rows are summed up once per pane, windows out of panes.

A pane is one slide (or step) of time. Its rows wait until the watermark has passed it, so that what it gives does not depend on
batches; a row that comes later, but in time for some window, is a pane of its own (`_b` says for which windows).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from headrace.foundation.errors import InvalidQueryError
from headrace.streams.duckdb.chunk_store import ChunkStore
from headrace.streams.duckdb.connection import Database
from headrace.streams.duckdb.flow import FOREVER, Flow, Report, Times, put, times, without
from headrace.streams.duckdb.numbers import from_numbers
from headrace.streams.duckdb.sql_writer import (
    BASE,
    Fragment,
    aggregate_fragment,
    aggregate_sql,
    expression_sql,
    key_sql,
    type_sql,
    write,
)
from headrace.streams.duckdb.window_output import WindowOutput
from headrace.streams.duckdb.window_step import LateRows, in_order, placed, slices, where
from headrace.streams.expression import AggregateCall, Cast, Expression, Ref, Slot, slots_of
from headrace.streams.functions import FUNCTIONS
from headrace.streams.logical_plan import Aggregate, Frame, Project, Relation, Window, relations
from headrace.streams.sql_types import category
from headrace.streams.watermark import BEGINNING
from headrace.streams.windows import assign, first_end, last_end

PANES_FROM = 8
"""Windows that cover each other at least so many times are computed from panes."""
MOST_WITHOUT = 64
"""So many times at most may they cover each other where panes cannot be."""


@dataclass(frozen=True, slots=True)
class PaneSql:
    """The two halves of an aggregate."""

    partial: str
    """Over the rows of panes: registered as `base`, with `_we` the end of the pane and `_x` what tells lone rows apart."""
    combined: Fragment
    """The aggregate's own columns, over panes placed in windows."""
    aggregate: Aggregate


def pane_sql(relation: Relation, window: Window) -> PaneSql | None:
    """The halves, where windows are computed from panes; None: they are computed from rows. InvalidQueryError: they cannot be."""
    if window.frame.kind not in ("HOP", "CUMULATE") or window.frame.overlap < PANES_FROM:
        return None
    aggregate = next((one for one in relations(relation) if isinstance(one, Aggregate) and _above(one, window)), None)
    reason = "it is not grouped right above the window" if aggregate is None else _obstacle(aggregate, window)
    if aggregate is not None and reason is None:
        return _halves(aggregate, window)
    if window.frame.overlap > MOST_WITHOUT:
        raise InvalidQueryError(
            f"each row lies in {window.frame.overlap} windows, and panes cannot be formed: {reason}",
            next_step=f"let at most {MOST_WITHOUT} windows overlap, or use COUNT, SUM, AVG, MIN, MAX, FIRST_VALUE, LAST_VALUE alone",
        )
    return None


def pane_note(relation: Relation, window: Window) -> str | None:
    """What a person should know of the way windows are computed."""
    if window.frame.overlap == 1:
        return None
    if pane_sql(relation, window) is not None:
        return f"{window.frame.kind} is computed from panes of {window.frame.step_ms / 1000:g} s"
    return f"each row is computed in up to {window.frame.overlap} windows"


def _above(aggregate: Aggregate, window: Window) -> bool:
    below = aggregate.source
    while isinstance(below, Project) and below.where is None:
        below = below.source
    return below is window


def _obstacle(aggregate: Aggregate, window: Window) -> str | None:
    """Why panes cannot be formed."""
    for _, call in aggregate.aggregates:
        if call.distinct or not FUNCTIONS[call.name].decomposable:
            return f"{call.name}{'(DISTINCT …)' if call.distinct else ''} of a window does not follow from its parts"
    borders = {aggregate.window.start, aggregate.window.end, aggregate.window.time}
    read = [expression for _, expression in aggregate.keys if not isinstance(expression, Ref)]
    if any(slots_of(one) & borders for one in [*read, *(call for _, call in aggregate.aggregates)]):
        return "an expression reads the window's borders"
    below = aggregate.source
    added = {window.slots.start, window.slots.end, window.slots.time}
    while isinstance(below, Project):
        if any(slots_of(one) & added for _, one in below.columns if not isinstance(one, Ref)):
            return "an expression reads the window's borders"
        below = below.source
    return None


def _halves(aggregate: Aggregate, window: Window) -> PaneSql:
    base = write(window)
    inner = write(aggregate.source, (window, replace(base, hidden=(*base.hidden, "_x"))))
    borders = {aggregate.window.start, aggregate.window.end, aggregate.window.time}
    keys = [(slot, one) for slot, one in aggregate.keys if not (isinstance(one, Ref) and one.slot in borders)]
    columns = ["_we AS _p", "max(_g) AS _g", *(f"{key_sql(one)} AS {slot.column}" for slot, one in keys)]
    whole: list[tuple[Slot, str]] = []
    for slot, call in aggregate.aggregates:
        parts, text = _parts(slot.column, call)
        columns += parts
        whole.append((slot, text))
    groups = ", ".join(["_we", "_x", *(key_sql(one) for _, one in keys)])
    order = ", ".join(["_p", "_x", *(f"{slot.column} NULLS LAST" for slot, _ in keys)])
    partial = f"SELECT {', '.join(columns)}, _x FROM ({inner.sql}) GROUP BY {groups} ORDER BY {order}"
    renamed = tuple(
        (slot, expression if (slot, expression) not in keys else Ref(slot)) for slot, expression in aggregate.keys
    )
    combined = aggregate_fragment(
        replace(aggregate, keys=renamed), Fragment(f"SELECT * FROM {BASE}", (), inner.base), whole
    )
    return PaneSql(partial, combined, aggregate)


def _parts(column: str, call: AggregateCall) -> tuple[list[str], str]:
    """The columns of the first half, and the second half over them."""
    exact = bool(call.arguments) and category(call.arguments[0].type) == "integer"
    target = type_sql(call.type)
    if call.name == "COUNT":
        return [f"{aggregate_sql(call)} AS {column}"], f"CAST(sum({column}) AS BIGINT)"
    if call.name in ("MIN", "MAX"):
        return [f"{aggregate_sql(call)} AS {column}"], f"{call.name.lower()}({column})"
    if call.name in ("FIRST_VALUE", "LAST_VALUE"):
        function = "arg_min" if call.name == "FIRST_VALUE" else "arg_max"
        moment = f"{function}(CASE WHEN {expression_sql(call.arguments[0])} IS NOT NULL THEN _t END, _o){_where(call)}"
        parts = [f"{aggregate_sql(call)} AS {column}", f"{moment} AS {column}_t"]
        return parts, f"{function}({column}, CASE WHEN {column}_t IS NOT NULL THEN row({column}_t, _o) END)"
    summed = _sum_of(call, exact=exact)
    ordered = "" if not pa.types.is_floating(summed.type) else " ORDER BY _o"
    total = f"sum({column}{ordered})"
    if call.name == "SUM":
        return [f"{aggregate_sql(summed)} AS {column}"], f"TRY_CAST({total} AS {target})"
    counted = aggregate_sql(AggregateCall("COUNT", call.arguments, pa.int64(), where=call.where))
    parts = [f"{aggregate_sql(summed)} AS {column}", f"{counted} AS {column}_n"]
    whole = total if ordered else f"CAST({total} AS VARCHAR)"
    return parts, f"(CAST({whole} AS DOUBLE) / NULLIF(sum({column}_n), 0))"


def _sum_of(call: AggregateCall, *, exact: bool) -> AggregateCall:
    """The sum inside SUM and AVG; of integers it has room for any window."""
    value: Expression = call.arguments[0]
    if exact:
        value = Cast(value, pa.decimal128(19, 0))
    kind = FUNCTIONS["SUM"].result((value.type,))
    return AggregateCall("SUM", (value,), kind, where=call.where)


def _where(call: AggregateCall) -> str:
    return f" FILTER (WHERE {expression_sql(call.where)})" if call.where is not None else ""


class PaneStep:
    """Keeps the rows of open panes, and the panes of open windows."""

    def __init__(self, database: Database, frame: Frame, sql: PaneSql, output: WindowOutput, prefix: str) -> None:
        self._database, self._frame, self._sql, self._output = database, frame, sql, output
        self._pane = Frame("TUMBLE", frame.step_ms, frame.step_ms, frame.offset_ms)
        self._late = LateRows(frame)
        self._rows = ChunkStore(f"{prefix}rows/")
        self._panes = ChunkStore(f"{prefix}panes/")
        self._closed = BEGINNING

    def run(self, port: int, flow: Flow, report: Report) -> Flow:
        del port
        lone: tuple[pa.Table, Times] | None = None
        if flow.rows is not None and flow.rows.num_rows:
            lone = self._take_in(flow.rows, report)
        until = FOREVER if flow.final else flow.level
        self._form_panes(until, lone)
        after = self._closed
        if until == FOREVER:
            ends = [int(last_end(times(one, "_p") - 1, self._frame).max()) for one in self._panes]
            until = max([after, flow.level, *ends])
        self._closed = max(after, until)
        tables = list(self._give_out(after, self._closed, report))
        return flow.carry(pa.concat_tables(tables) if tables else None)

    def _take_in(self, rows: pa.Table, report: Report) -> tuple[pa.Table, Times]:
        """Keeps the rows of open panes; gives back those whose pane has closed, and the watermark before each."""
        rows, before = self._late.split(rows, self._closed, report)
        rows = without(rows, "_b", "_i", "_n", "_id", "_key", "_origin").combine_chunks()
        on_time = first_end(times(rows), self._pane) > before
        self._rows.append(where(rows, on_time))
        return where(rows, ~on_time), before[~on_time]

    def _form_panes(self, until: int, lone: tuple[pa.Table, Times] | None) -> None:
        due, kept = list[pa.Table](), list[pa.Table]()
        for table, (lowest, _) in self._rows.spans("_t"):
            if lowest >= until:
                kept.append(table)
                continue
            mask = first_end(times(table), self._pane) <= until
            kept.append(where(table, ~mask))
            if mask.any():
                due.append(where(table, mask))
        self._rows.replace(kept)
        if due:
            rows, _ = in_order(pa.concat_tables(due))
            self._panes.append(self._summed(put(rows, "_x", np.full(rows.num_rows, -1))))
        if lone is not None and lone[0].num_rows:
            rows, before = lone
            panes = self._summed(put(rows, "_x", np.arange(rows.num_rows)), before)
            self._panes.append(panes)

    def _summed(self, rows: pa.Table, before: Times | None = None) -> pa.Table:
        """The first half over rows in order; `before`: of each lone row."""
        ends = first_end(times(rows), self._pane)
        rows = put(put(put(rows, "_o", np.arange(rows.num_rows)), "_ws", ends - self._pane.size_ms), "_we", ends)
        self._database.register(BASE, rows)
        panes = self._database.query(self._sql.partial)
        lone = times(panes, "_x")
        mark = np.full(len(lone), BEGINNING, np.int64) if before is None else before[lone]
        return put(without(panes, "_x"), "_b", mark)

    def _give_out(self, after: int, until: int, report: Report) -> Iterator[pa.Table]:
        step, offset = self._frame.step_ms, self._frame.offset_ms
        if not self._panes.num_rows or (after - offset) // step == (until - offset) // step:
            return
        panes = pa.concat_tables(list(self._panes)).combine_chunks()
        order = np.argsort(times(panes, "_p"), kind="stable")
        panes = panes.take(from_numbers(order))
        moments, before = times(panes, "_p") - 1, times(panes, "_b")
        for low, high in slices(moments, self._frame, after, until):
            found = assign(moments, before, self._frame, low, high)
            if len(found.rows):
                out = self._output.run(placed(panes, found), report)
                if out is not None:
                    yield out
        self._panes.replace([where(one, last_end(times(one, "_p") - 1, self._frame) > until) for one in self._panes])

    def snapshot(self) -> dict[str, bytes | None]:
        return {**self._rows.snapshot(), **self._panes.snapshot()}

    def progress(self) -> dict[str, Any]:
        return {"closed": self._closed}

    def restore(self, entries: dict[str, bytes], progress: dict[str, Any]) -> None:
        self._closed = progress["closed"]
        self._rows.restore(entries)
        self._rows.replace([where(one, first_end(times(one), self._pane) > self._closed) for one in self._rows])
        self._panes.restore(entries)
        self._panes.replace(
            [where(one, last_end(times(one, "_p") - 1, self._frame) > self._closed) for one in self._panes]
        )
