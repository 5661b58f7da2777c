"""What passes from one step of a query to the next.

Rows are an Arrow table of the plan's columns (times as TIMESTAMP without zone, in UTC) beside hidden ones: `_t` event time,
`_g` ingested at, `_n` now (all ms), `_b` the watermark before the row (absent: the row is never late), `_i` its place in the batch
that was handed in; and, where the step after needs them, `_id`, `_key` and `_offset` or `_origin`.
"""

from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import pyarrow as pa

from headrace.streams.duckdb.numbers import Numbers, from_numbers, to_numbers
from headrace.streams.watermark import BEGINNING

Times = Numbers
FOREVER = 1 << 62


@dataclass(slots=True)
class Flow:
    """Rows, and how far time has come once they are through."""

    rows: pa.Table | None
    level: int = BEGINNING
    """The watermark after the rows."""
    idle: bool = False
    """Nothing comes for now: the input is idle or has ended."""
    final: bool = False
    """The input has ended: every window closes."""
    arrived: int | None = None
    """When the first of the input's rows behind this flow came in, ms since 1970 UTC; None: no rows came in."""
    reached: int | None = None
    """Everything of the input that came in up to here, ms since 1970 UTC, has been handed in; None: not known."""

    def carry(self, rows: pa.Table | None) -> "Flow":
        """The same progress with other rows: what a step with one input passes on."""
        return replace(self, rows=rows)


@dataclass(frozen=True, slots=True)
class Failure:
    """What failed."""

    place: int | None
    """In the batch that was handed in; None: it was made on the way."""
    name: str
    """The id of what it was, where `place` does not say."""
    reason: str
    code: str = "query_failed"


@dataclass(slots=True)
class Report:
    """What steps set aside while a batch goes through."""

    late: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    """(place in the batch, by how many ms)"""
    failed: list[Failure] = field(default_factory=list[Failure])

    def late_between(self, rows: pa.Table, place: int, by_ms: int) -> None:
        """A row that another step made, and that came too late for this one: possible only behind an end of input."""
        values = {name: rows[name][place].as_py() for name in rows.column_names if not name.startswith("_")}
        moment = rows["_t"][place].as_py()
        reason = f"a row of {moment} ms between two steps came {by_ms} ms after its windows had been given out"
        self.failed.append(Failure(None, f"between@{moment} {values}", reason, "late"))


class Step(Protocol):
    """One operator."""

    def run(self, port: int, flow: Flow, report: Report) -> Flow: ...

    def snapshot(self) -> dict[str, bytes | None]: ...

    def progress(self) -> dict[str, Any]:
        """Its small state, kept in the one entry of all steps."""
        ...

    def restore(self, entries: dict[str, bytes], progress: dict[str, Any]) -> None: ...


def times(table: pa.Table, name: str = "_t") -> Times:
    """A hidden column of integers."""
    return to_numbers(table[name])


def put(table: pa.Table, name: str, values: Times | pa.Array) -> pa.Table:
    """The table with one more column, or with it replaced."""
    column = values if isinstance(values, pa.Array) else from_numbers(values)
    place = table.schema.get_field_index(name)
    return table.append_column(name, column) if place < 0 else table.set_column(place, name, column)


def without(table: pa.Table, *names: str) -> pa.Table:
    """The table less some columns, where it has them."""
    return table.select([name for name in table.column_names if name not in names])
