"""From the logical plan to a chain of views.

Columns have the plan's own names (`c1`, `c2` …). Beside them go hidden ones: `_rt` (the row's time attribute), `_t` (event time, ms),
`_o` (order number), `_g` (ingested at, ms), `_n` (now, ms), `_b` (the watermark before the row, ms), `_off`, `_id`, `_key` (of the source's
record), `_p` (the keys of a SESSION in one); behind a window `window_start`, `window_end`, `window_time`, `_ws`, `_we` (ms), the identity
`_k0`, `_k1` …, and the rank `_r`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from headrace.streams.expression import AggregateCall, Ref, Slot
from headrace.streams.flink.sql.aggregates import aggregate_sql, by_order, deferred_sql, needs_order
from headrace.streams.flink.sql.expressions import column_sql, key_sql
from headrace.streams.flink.sql.panes import pane_frame, pane_halves
from headrace.streams.flink.sql.tables import Table, last_end
from headrace.streams.flink.sql.types import epoch_ms
from headrace.streams.flink.sql.view_parts import BORDERS, condition, input_of, is_key, is_plain, window_function
from headrace.streams.logical_plan import Aggregate, Frame, Project, Rank, Relation, Scan, StreamJoin, TableJoin, Window

_ALL = 2_147_483_647


@dataclass(frozen=True, slots=True)
class View:
    """A view: its name and its columns."""

    name: str
    columns: tuple[str, ...]
    """The plan's, then hidden ones."""
    keys: int = 0
    """How many `_k` columns there are."""

    def has(self, column: str) -> bool:
        return column in self.columns


@dataclass(frozen=True, slots=True)
class LateSource:
    """Where late rows of an input are found."""

    stream: str
    view: str
    """With `_off` and `_by`."""


@dataclass(slots=True)
class Views:
    """Writes views one after the other."""

    scans: dict[int, View] = field(default_factory=dict[int, View])
    """The rows of each Scan, by its identity."""
    tables: list[Table] = field(default_factory=list[Table])
    table_join: "Callable[[Views, TableJoin], View]" = field(kw_only=True)
    stream_join: "Callable[[Views, StreamJoin], View]" = field(kw_only=True)
    statements: list[str] = field(default_factory=list[str])
    gates: list[str] = field(default_factory=list[str])
    """Views with one row each, once a static table is read: until then rows wait, and so must the signs behind them."""
    late: list[LateSource] = field(default_factory=list[LateSource])
    serial: bool = False
    """Whether the job is only exact with one task per step."""
    deferred: frozenset[Slot] = frozenset()
    """Aggregates that the reader of the output computes from their values in order."""

    def add(self, prefix: str, select: str, columns: Sequence[str], keys: int = 0) -> View:
        name = f"{prefix}_{len(self.statements)}"
        self.statements.append(f"CREATE TEMPORARY VIEW {name} AS\n{select}")
        return View(name, tuple(columns), keys)

    def write(self, relation: Relation) -> View:
        if isinstance(relation, Scan):
            return self.scans[id(relation)]
        if isinstance(relation, Project):
            return self._project(relation)
        if isinstance(relation, Window):
            return self._window(relation)
        if isinstance(relation, Aggregate):
            return self._aggregate(relation)
        if isinstance(relation, Rank):
            return self._rank(relation)
        if isinstance(relation, TableJoin):
            return self.table_join(self, relation)
        return self.stream_join(self, relation)

    def _project(self, project: Project) -> View:
        source = self.write(project.source)
        hidden = [one for one in source.columns if not is_plain(one)]
        items = [f"{column_sql(expression)} AS {slot.column}" for slot, expression in project.columns]
        where = f"\nWHERE {condition(project)}" if project.where is not None else ""
        columns = [*(slot.column for slot, _ in project.columns), *hidden]
        return self.add(
            "project", f"SELECT {', '.join([*items, *hidden])}\nFROM {source.name}{where}", columns, source.keys
        )

    # --- windows ---

    def _window(self, window: Window) -> View:
        source = self._in_time(self.unwindowed(self.write(window.source)), window.frame, window.source)
        frame, borders = window.frame, {}
        for slot, border in zip((window.slots.start, window.slots.end, window.slots.time), BORDERS, strict=True):
            if slot is not None:
                borders[slot.column] = border
        partition = [one.slot.column for one in window.partition]
        if len(partition) > 1 or any(pa.types.is_floating(one.type) for one in window.partition):
            source, partition = self._of_one_key(source, window.partition), ["_p"]
        table = window_function(frame, source.name, partition)
        kept = [one for one in source.columns if one != "_rt"]
        items = [*kept, *(f"{border} AS {column}" for column, border in borders.items()), *BORDERS]
        items += [f"{epoch_ms('window_start')} AS _ws", f"{epoch_ms('window_end')} AS _we"]
        columns = [*kept, *borders, *BORDERS, "_ws", "_we"]
        where = ""
        if frame.overlap > 1 and source.has("_b"):  # the window's own watermark may be behind: other tasks, a restart
            where = f"\nWHERE {epoch_ms('window_end')} > _b"
        return self.add("windowed", f"SELECT {', '.join(items)}\nFROM TABLE({table}){where}", columns)

    def _of_one_key(self, source: View, keys: Sequence[Ref]) -> View:
        """Several keys in one, `_p`: Flink does not find the second key of a SESSION inside a view."""
        values = [f"CAST({key_sql(one)} AS STRING)" for one in keys]
        texts = [f"COALESCE(CAST(CHAR_LENGTH({one}) AS STRING) || ':' || {one}, '')" for one in values]
        columns, joined = [*source.columns, "_p"], " || ' ' || ".join(texts)
        return self.add(
            "keyed", f"SELECT {', '.join(source.columns)}, ({joined}) AS _p\nFROM {source.name}", columns, source.keys
        )

    def unwindowed(self, source: View) -> View:
        """Rows of an inner window as plain rows again, their time attribute `_rt`."""
        if not source.has("window_time"):
            return source
        kept = [one for one in source.columns if is_plain(one) or one in ("_t", "_g")]
        order = ["_ws", *(f"_k{place}" for place in range(source.keys)), *(["_r"] if source.has("_r") else [])]
        named = [f"{one} AS _q{place}" for place, one in enumerate(order)]
        select = f"SELECT {', '.join([*kept, *named])}, window_time AS _rt\nFROM {source.name}"
        return self.add("rows", select, [*kept, *(f"_q{place}" for place in range(len(order))), "_rt"])

    def _in_time(self, source: View, frame: Frame, relation: Relation) -> View:
        """Sets rows aside that come after all their windows have closed, where the input's own watermark says so."""
        if not source.has("_b"):
            return source
        if frame.kind == "SESSION":
            self.serial = True
            return source
        return self.timely(source, last_end("_t", frame), "<=", "_b", relation)

    def timely(self, source: View, left: str, operator: str, right: str, relation: Relation) -> View:
        """The rows for which `left operator right` does not hold; the others are late, by right − left ms."""
        if not source.has("_b"):
            return source
        late = self.add(
            "late",
            f"SELECT _off, {right} - {left} AS _by\nFROM {source.name}\nWHERE {left} {operator} {right}",
            ("_off", "_by"),
        )
        self.late.append(LateSource(input_of(relation), late.name))
        columns = ", ".join(source.columns)
        return self.add(
            "timely", f"SELECT {columns}\nFROM {source.name}\nWHERE NOT ({left} {operator} {right})", source.columns
        )

    def _aggregate(self, aggregate: Aggregate) -> View:
        source = self.write(aggregate.source)
        borders = {
            aggregate.window.start: "window_start",
            aggregate.window.end: "window_end",
            aggregate.window.time: "window_time",
        }
        keys: list[str] = []
        out: list[str] = []
        for slot, expression in aggregate.keys:
            border = borders.get(expression.slot) if isinstance(expression, Ref) else None
            if border is None:
                out.append(f"{_of_group(source, f'_k{len(keys)}')} AS {slot.column}")
                keys.append(key_sql(expression))
            else:
                out.append(f"{border} AS {slot.column}")
        names = [f"_k{place}" for place in range(len(keys))]
        if keys:
            kept = [one for one in source.columns if not is_key(one)]
            items = [*kept, *(f"{sql} AS {name}" for sql, name in zip(keys, names, strict=True))]
            source = self.add("keyed", f"SELECT {', '.join(items)}\nFROM {source.name}", [*kept, *names])
        frame = pane_frame(aggregate)
        calls = aggregate.aggregates
        if any(by_order(call) for _, call in calls):
            source = self._numbered(source)
        if any(needs_order(call) for _, call in calls):
            source = self._ordered(source, names, "_o")
            if frame is not None:
                source, halves = self._panes(source, frame, calls, names)
                values = [f"{half} AS {slot.column}" for (slot, _), half in zip(calls, halves, strict=True)]
                return self._grouped(aggregate, source, [*out, *values], names)
        values = [
            f"{deferred_sql(call) if slot in self.deferred else aggregate_sql(call)} AS {slot.column}"
            for slot, call in calls
        ]
        return self._grouped(aggregate, source, [*out, *values], names)

    def _grouped(self, aggregate: Aggregate, source: View, items: list[str], names: list[str]) -> View:
        columns = [*(slot.column for slot, _ in (*aggregate.keys, *aggregate.aggregates)), *BORDERS, *names, "_g"]
        items = [*items, *BORDERS, *(f"{_of_group(source, one)} AS {one}" for one in names), "MAX(_g) AS _g"]
        if source.has("_o"):
            items.append("MIN(_o) AS _o")
            columns.append("_o")
        groups = ", ".join([*BORDERS, *(["_p"] if source.has("_p") else names)])
        inner = self.add("grouped", f"SELECT {', '.join(items)}\nFROM {source.name}\nGROUP BY {groups}", columns)
        return self._with_milliseconds(inner, len(names))

    def _panes(
        self, source: View, frame: Frame, calls: Sequence[tuple[Slot, AggregateCall]], names: list[str]
    ) -> tuple[View, list[str]]:
        """Sums up each pane, so that floating sums are added in the order in which they are elsewhere; gives the second halves too."""
        parts: list[str] = []
        halves: list[str] = []
        for slot, call in calls:
            first, second = pane_halves(slot.column, call)
            parts += [f"{sql} AS {label}" for label, sql in first.items()]
            halves.append(second)
        labels = [one.rpartition(" AS ")[2] for one in parts]
        end = last_end("_t", Frame("TUMBLE", frame.step_ms, frame.step_ms, frame.offset_ms))
        alone = (
            f"CASE WHEN {end} <= _b THEN _off ELSE CAST(-1 AS BIGINT) END" if source.has("_b") else "CAST(-1 AS BIGINT)"
        )
        placed = self.add(
            "placed",
            f"SELECT *, {end} AS _pane, {alone} AS _alone\nFROM {source.name}",
            [*source.columns, "_pane", "_alone"],
        )
        groups = ", ".join([*BORDERS, *names, "_pane", "_alone"])
        items = [*BORDERS, *names, "_pane", "_alone", "MAX(_g) AS _g", "MIN(_o) AS _o", *parts]
        columns = [*BORDERS, *names, "_pane", "_alone", "_g", "_o", *labels]
        panes = self.add("panes", f"SELECT {', '.join(items)}\nFROM {placed.name}\nGROUP BY {groups}", columns)
        return self._ordered(panes, names, "_pane, _alone"), halves

    def _numbered(self, source: View) -> View:
        """Rows that came out of windows below, with their order number."""
        if source.has("_o"):
            return source
        order = ["_t", *(f"{one} NULLS LAST" for one in source.columns if one.startswith("_q"))]
        inner = f"SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY {', '.join(order)}) AS _o\n  FROM {source.name}"
        columns = [*source.columns, "_o"]
        return self.add(
            "numbered", f"SELECT {', '.join(columns)}\nFROM (\n  {inner}\n) WHERE _o <= {_ALL}", columns, source.keys
        )

    def _with_milliseconds(self, view: View, keys: int) -> View:
        start, end = epoch_ms("window_start"), epoch_ms("window_end")
        select = f"SELECT *, {start} AS _ws, {end} AS _we, {end} - 1 AS _t\nFROM {view.name}"
        return self.add("timed", select, [*view.columns, "_ws", "_we", "_t"], keys)

    def _ordered(self, source: View, partition: Sequence[str], order: str) -> View:
        """The same rows, each group's in order, once its window has closed."""
        by = ", ".join(("window_start", "window_end", *partition))
        columns = ", ".join(source.columns)
        inner = f"SELECT *, ROW_NUMBER() OVER (PARTITION BY {by} ORDER BY {order}) AS _place\n  FROM {source.name}"
        return self.add(
            "ordered", f"SELECT {columns}\nFROM (\n  {inner}\n) WHERE _place <= {_ALL}", source.columns, source.keys
        )

    def _rank(self, rank: Rank) -> View:
        source = self._numbered(self.write(rank.source))
        names = [f"_k{place}" for place in range(len(rank.partition))]
        kept = [one for one in source.columns if not is_key(one) and one != "_r"]
        items = [*kept, *(f"{key_sql(one)} AS {name}" for one, name in zip(rank.partition, names, strict=True))]
        items += [f"{key_sql(by)} AS _s{place}" for place, (by, _, _) in enumerate(rank.order)]
        source = self.add("keyed", f"SELECT {', '.join(items)}\nFROM {source.name}", [*kept, *names])
        by = ", ".join(("window_start", "window_end", *names))
        order = ", ".join(
            f"_s{place} {'DESC' if descending else 'ASC'} NULLS {'FIRST' if first else 'LAST'}"
            for place, (_, descending, first) in enumerate(rank.order)
        )
        inner = f"SELECT *, ROW_NUMBER() OVER (PARTITION BY {by} ORDER BY {order}, _o) AS _r\n  FROM {source.name}"
        columns = [*source.columns, rank.slot.column, "_r"]
        items = [*source.columns, f"_r AS {rank.slot.column}", "_r"]
        return self.add(
            "ranked", f"SELECT {', '.join(items)}\nFROM (\n  {inner}\n) WHERE _r <= {rank.limit}", columns, len(names)
        )


def _of_group(source: View, key: str) -> str:
    """A key of a group; where `_p` stands for all of them, it is the one value that the group's rows have."""
    return f"MIN({key})" if source.has("_p") else key
