"""Joins as Flink's temporal joins: each row with the one version that was true at its time.

A static table has one version per key as far as Flink sees, older than every event, so that no row ever comes too late for it;
versions of a key lie in arrays, and the row's own time chooses.
"""

from collections.abc import Sequence

import pyarrow as pa

from headrace.streams.flink.sql.expressions import column_sql
from headrace.streams.flink.sql.sources import inward, table_end
from headrace.streams.flink.sql.tables import HIGHEST, LOWEST, ROW, RowTime, Source, source_table
from headrace.streams.flink.sql.types import day_time, epoch_ms, name
from headrace.streams.flink.sql.views import View, Views
from headrace.streams.logical_plan import StreamJoin, TableJoin
from headrace.streams.stream_job import JobSpec

_DAY = day_time(86_400_000)


def write_table_join(views: Views, join: TableJoin, job: JobSpec) -> View:
    """The rows with their table's columns."""
    source = views.write(join.source)
    keys = [f"_j{place}" for place in range(len(join.on))]
    items = [*source.columns, *(f"{column_sql(one)} AS {key}" for (one, _), key in zip(join.on, keys, strict=True))]
    left = views.add("joining", f"SELECT {', '.join(items)}\nFROM {source.name}", [*source.columns, *keys], source.keys)
    columns = dict(join.columns)
    on = [columns[column].column for _, column in join.on]
    found = _table(join, job, f"table_{len(views.tables)}")
    views.tables.append(found.table)
    views.gates.append(views.add("loaded", table_end(found), ("_end",)).name)
    rows = _table_rows(views, join, found)
    chosen = _versions(views, rows, on) if join.table.valid_from is not None else rows
    right = _newest(views, chosen, on, "_rt")
    equal = " AND ".join(f"l.{key} = r.{column}" for key, column in zip(keys, on, strict=True))
    word = "LEFT JOIN" if join.kind == "LEFT" else "JOIN"
    head = f"FROM {left.name} AS l\n{word} {right} FOR SYSTEM_TIME AS OF l._rt AS r ON {equal}"
    mine = [f"l.{one}" for one in source.columns]
    own = [slot.column for _, slot in join.columns]
    if join.table.valid_from is None:
        select = f"SELECT {', '.join([*mine, *(f'r.{one}' for one in own)])}\n{head}"
        return views.add("joined", select, [*own, *source.columns], source.keys)
    place = (
        "CASE WHEN ARRAY_CONTAINS(r._since, l._t) THEN ARRAY_POSITION(r._since, l._t) "
        "ELSE ARRAY_POSITION(ARRAY_SORT(ARRAY_APPEND(r._since, l._t)), l._t) - 1 END"
    )
    arrays = [f"r.{one} AS _a_{one}" for one in own]
    wide = views.add("versions", f"SELECT {', '.join([*mine, *arrays, f'{place} AS _place'])}\n{head}", [])
    values = [f"(CASE WHEN _place >= 1 THEN _a_{one}{'' if one in on else '[_place]'} END) AS {one}" for one in own]
    where = "" if join.kind == "LEFT" else "\nWHERE _place >= 1"
    select = f"SELECT {', '.join([*source.columns, *values])}\nFROM {wide.name}{where}"
    return views.add("joined", select, [*own, *source.columns], source.keys)


def write_stream_join(views: Views, join: StreamJoin) -> View:
    """The left rows, each once both watermarks have passed it, with the latest right row that is not later."""
    left = views.timely(views.unwindowed(views.write(join.source)), "_t", "<", "_b", join.source)
    right = views.timely(views.unwindowed(views.write(join.other)), "_t", "<", "_b", join.other)
    plain = [one for one in right.columns if not one.startswith("_")]
    order = "_rt, _off" if right.has("_off") else "_rt"
    sorted_ = views.add(
        "sorted", f"SELECT {', '.join([*plain, '_rt'])}\nFROM {right.name}\nORDER BY {order}", [*plain, "_rt"]
    )
    newest = _newest(views, sorted_, [other.column for _, other in join.on], "_rt")
    equal = " AND ".join(f"l.{one.column} = r.{other.column}" for one, other in join.on)
    word = "LEFT JOIN" if join.kind == "LEFT" else "JOIN"
    kept = [one for one in left.columns if one != "_b"]
    items = [*(f"l.{one}" for one in kept), *(f"r.{one}" for one in plain)]
    select = (
        f"SELECT {', '.join(items)}\nFROM {left.name} AS l\n{word} {newest} FOR SYSTEM_TIME AS OF l._rt AS r ON {equal}"
    )
    return views.add("joined", select, [*plain, *kept])


def _table(join: TableJoin, job: JobSpec, label: str) -> Source:
    columns: dict[str, pa.DataType] = {column: slot.type for column, slot in join.columns}
    if join.table.valid_from is not None:
        columns.setdefault(join.table.valid_from, pa.timestamp("ms", tz="UTC"))
    low = f"CAST({LOWEST} AS BIGINT)"
    time = RowTime(low, f"CAST({HIGHEST} AS BIGINT)", low, 0)
    return source_table(label, job.tables[join.table.name], columns, time)


def _table_rows(views: Views, join: TableJoin, found: Source) -> View:
    items = [f"{inward(name(column), slot.type)} AS {slot.column}" for column, slot in join.columns]
    columns = [slot.column for _, slot in join.columns]
    if join.table.valid_from is not None:
        since = f"CAST({name(join.table.valid_from)} AS TIMESTAMP(3))"
        items.append(f"{epoch_ms(since)} AS _since")
        columns.append("_since")
    select = (
        f"SELECT {', '.join(items)}, {found.mark}rt AS _rt\nFROM {found.table.name}\nWHERE {found.mark}kind = '{ROW}'"
    )
    return views.add("table_rows", select, [*columns, "_rt"])


def _versions(views: Views, rows: View, on: Sequence[str]) -> View:
    """One row per key: its versions in order of time, each column as an array, the times in `_since`."""
    by = ", ".join(("window_start", "window_end", *on))
    columns = [one for one in rows.columns if one != "_rt"]
    inner = (
        f"SELECT {', '.join(columns)}, window_start, window_end, window_time, ROW_NUMBER() OVER (PARTITION BY {by} ORDER BY _since) AS _place\n"
        f"  FROM TABLE(TUMBLE(TABLE {rows.name}, DESCRIPTOR(_rt), {_DAY}))\n  WHERE _since IS NOT NULL"
    )
    ordered = views.add(
        "ordered",
        f"SELECT {', '.join(columns)}, window_start, window_end, window_time\nFROM (\n  {inner}\n) WHERE _place <= 2147483647",
        [],
    )
    values = [one for one in columns if one not in on]
    keyed = [*on, *(f"ARRAY_AGG({one}) AS {one}" for one in values)]
    groups = ", ".join(("window_start", "window_end", "window_time", *on))
    select = f"SELECT {', '.join([*keyed, 'window_time AS _rt'])}\nFROM {ordered.name}\nGROUP BY {groups}"
    return views.add("grouped", select, [*on, *values, "_rt"])


def _newest(views: Views, rows: View, keys: Sequence[str], time: str) -> str:
    """A versioned view: of each key the newest row. A key that is NULL equals nothing, which Flink forgets where streams are joined."""
    columns, known = ", ".join(rows.columns), " AND ".join(f"{key} IS NOT NULL" for key in keys)
    inner = f"SELECT {columns}, ROW_NUMBER() OVER (PARTITION BY {', '.join(keys)} ORDER BY {time} DESC) AS _place FROM {rows.name} WHERE {known}"
    return views.add("newest", f"SELECT {columns}\nFROM (\n  {inner}\n) WHERE _place = 1", rows.columns).name
