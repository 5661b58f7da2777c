"""Stateless work on rows as they pass: projection, filter, joins with static tables."""

from typing import Any

import numpy as np
import pyarrow as pa

from headrace.streams.duckdb.arrow_form import inner_schema, shaped
from headrace.streams.duckdb.connection import Database, Error
from headrace.streams.duckdb.flow import Failure, Flow, Report, put
from headrace.streams.duckdb.sql_writer import BASE, write
from headrace.streams.expression import Ref, Slot
from headrace.streams.logical_plan import Project, Relation, Scan, StreamJoin


def renames(relation: Relation) -> dict[Slot, Slot] | None:
    """Output column → column of the base, where a relation does nothing but rename; else None."""
    if isinstance(relation, Scan):
        return {slot: slot for _, slot in relation.columns}
    if isinstance(relation, StreamJoin) or not isinstance(relation, Project) or relation.where is not None:
        return None
    below = renames(relation.source)
    if below is None:
        return None
    found: dict[Slot, Slot] = {}
    for slot, expression in relation.columns:
        if not isinstance(expression, Ref):
            return None
        found[slot] = below[expression.slot]
    return found


class SqlStep:
    """Runs a relation over each batch; the hidden columns of a row follow it by its place."""

    def __init__(self, database: Database, relation: Relation, outputs: tuple[Slot, ...]) -> None:
        """`outputs`: the columns of the relation that are wanted, in order."""
        fragment = write(relation)
        order = "" if fragment.ordered else " ORDER BY _o"
        self._database = database
        self._renames = renames(relation)
        self._outputs = outputs
        self._schema = inner_schema(outputs, ("_o",))
        self._sql = f"SELECT {', '.join(self._schema.names)} FROM ({fragment.sql}){order}"

    def run(self, port: int, flow: Flow, report: Report) -> Flow:
        del port
        rows = flow.rows
        if rows is not None and self._renames is not None:
            rows = self._rename(rows, self._renames)
        elif rows is not None and rows.num_rows:
            rows = self._execute(rows, report)
        return flow.carry(rows)

    def _rename(self, rows: pa.Table, found: dict[Slot, Slot]) -> pa.Table:
        hidden = [name for name in rows.column_names if name.startswith("_")]
        columns = [rows[found[slot].column] for slot in self._outputs]
        return pa.table(
            [*columns, *(rows[name] for name in hidden)], names=[*(slot.column for slot in self._outputs), *hidden]
        )

    def _execute(self, rows: pa.Table, report: Report) -> pa.Table:
        hidden = rows.select([name for name in rows.column_names if name.startswith("_")])
        base = rows.select([name for name in rows.column_names if not name.startswith("_") or name == "_t"])
        base = put(base, "_o", np.arange(rows.num_rows, dtype=np.int64))
        now = rows["_n"].combine_chunks() if "_n" in rows.column_names else pa.nulls(rows.num_rows, pa.int64())
        self._database.register(BASE, put(base, "_n", now))
        try:
            result = shaped(self._database.query(self._sql), self._schema)
        except Error as error:
            if rows.num_rows > 1:
                half = rows.num_rows // 2
                parts = (rows.slice(0, half), rows.slice(half))
                return pa.concat_tables([self._execute(part, report) for part in parts])
            report.failed.append(_failure(rows, error))
            result = self._schema.empty_table()
        if result.num_rows != rows.num_rows:
            hidden = hidden.take(result["_o"])
        result = result.drop_columns(["_o"])
        return pa.table([*result.columns, *hidden.columns], names=[*result.column_names, *hidden.column_names])

    def snapshot(self) -> dict[str, bytes | None]:
        return {}

    def progress(self) -> dict[str, Any]:
        return {}

    def restore(self, entries: dict[str, bytes], progress: dict[str, Any]) -> None:
        del entries, progress


def _failure(rows: pa.Table, error: Exception) -> Failure:
    place = rows["_i"][0].as_py() if "_i" in rows.column_names else None
    name = rows["_id"][0].as_py() if "_id" in rows.column_names else ""
    return Failure(place, name, f"the query cannot be computed: {str(error).splitlines()[0]}")
