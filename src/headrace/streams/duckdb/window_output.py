"""What a window gives once it has closed: runs the translated SQL over its rows, and names each row that comes out."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from headrace.foundation.ids import derive_id
from headrace.streams.duckdb.arrow_form import inner_schema, shaped
from headrace.streams.duckdb.connection import Database, Error
from headrace.streams.duckdb.flow import Failure, Report, times
from headrace.streams.duckdb.numbers import from_texts
from headrace.streams.duckdb.sql_writer import BASE, Fragment
from headrace.streams.expression import Slot
from headrace.streams.row_names import key_texts, window_origin


class WindowOutput:
    """Turns the rows of closed windows into output rows, in order of (window end, window start, key, rank)."""

    def __init__(
        self,
        database: Database,
        fragment: Fragment,
        outputs: tuple[Slot, ...],
        digest: str,
        topics: tuple[str, ...],
        *,
        named: bool,
    ) -> None:
        """`named`: whether the rows get `_id`, `_key` and `_origin`."""
        self._database, self._digest, self._topics, self._named = database, digest, topics, named
        self._keys = tuple(f"_k{place}" for place in range(fragment.keys))
        ranked = ("_r",) if "_r" in fragment.hidden else ()
        self._hidden = ("_t", "_g", "_ws", "_we", *ranked)
        self._columns = tuple(slot.column for slot in outputs)
        self._schema = inner_schema(outputs, self._hidden)
        order = ", ".join(f"{name} NULLS LAST" for name in ("_we", "_ws", *self._keys, *ranked))
        wanted = ", ".join([*self._columns, "_we - 1 AS _t", *self._hidden[1:], *self._keys])
        self._sql = f"SELECT {wanted} FROM ({fragment.sql}) ORDER BY {order}"

    def run(self, rows: pa.Table, report: Report) -> pa.Table | None:
        """`rows`: those of closed windows, with `_o`, `_t`, `_g`, `_ws` and `_we`. None: nothing came out."""
        tables = list(self._execute(rows, report))
        return pa.concat_tables(tables) if tables else None

    def _execute(self, rows: pa.Table, report: Report) -> Iterator[pa.Table]:
        self._database.register(BASE, rows)
        try:
            result = self._database.query(self._sql)
        except Error as error:
            yield from self._divide(rows, error, report)
            return
        if result.num_rows:
            yield self._finish(result)

    def _divide(self, rows: pa.Table, error: Exception, report: Report) -> Iterator[pa.Table]:
        """Each window alone; one that cannot be computed is set aside."""
        borders = sorted({*zip(times(rows, "_we").tolist(), times(rows, "_ws").tolist(), strict=True)})
        if len(borders) == 1:
            end, start = borders[0]
            reason = f"the window [{start}, {end}) cannot be computed: {str(error).splitlines()[0]}"
            report.failed.append(Failure(None, derive_id(self._digest, "window", start, end), reason))
            return
        ends, starts = pc.field("_we"), pc.field("_ws")
        for end, start in borders:
            yield from self._execute(rows.filter((ends == end) & (starts == start)), report)

    def _finish(self, result: pa.Table) -> pa.Table:
        table = shaped(result, self._schema)
        if not self._named:
            return table.select([*self._columns, "_t", "_g"])
        starts, ends = times(table, "_ws").tolist(), times(table, "_we").tolist()
        ranks = times(table, "_r").tolist() if "_r" in self._hidden else [0] * len(starts)
        keys = key_texts([result[name].to_pylist() for name in self._keys], len(starts))
        ids = [derive_id(self._digest, *parts) for parts in zip(keys, starts, ends, ranks, strict=True)]
        windows = zip(keys, starts, ends, strict=True)
        origins = [window_origin(self._digest, *window, self._topics) for window in windows]
        table = table.select([*self._columns, "_t", "_g"])
        for name, values in (("_id", ids), ("_key", keys), ("_origin", origins)):
            table = table.append_column(name, from_texts(values))
        return table
