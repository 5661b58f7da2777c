"""Many rows at once: an Arrow table of typed columns plus the columns that every record has.

Rows travel in topics as canonical JSON objects (`row/1`): DECIMAL is a string in plain notation without trailing zeros,
TIMESTAMP_LTZ ISO-8601 with `Z`, TIMESTAMP the same without, DATE `YYYY-MM-DD`, BYTES base64, a DOUBLE that is not finite NULL.
NULL columns are omitted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from headrace.events.schema import RowSchema


@dataclass(frozen=True, slots=True)
class RowBatch:
    """n rows of one schema with their records' metadata. All columns have length n."""

    table: pa.Table
    """The typed columns, as in `schema.to_arrow()`."""
    schema: RowSchema
    ids: pa.Array
    """string [n]"""
    keys: pa.Array
    """string [n]; '' if there is no key"""
    event_times: pa.Array
    """int64 [n], ms since 1970 UTC"""
    ingested_at: pa.Array
    """int64 [n], ms since 1970 UTC; 0: not stamped yet"""
    origins: pa.Array
    """string [n]; compact JSON"""
    offsets: pa.Array
    """int64 [n]: offset in the topic it was read from (or position in the source); ascending"""

    @property
    def num_rows(self) -> int:
        return self.table.num_rows

    def slice(self, start: int, length: int | None = None) -> "RowBatch":
        """The rows from `start` on, `length` of them, sharing memory."""
        length = self.num_rows - start if length is None else length
        return RowBatch(
            self.table.slice(start, length), self.schema,
            *(column.slice(start, length) for column in (self.ids, self.keys, self.event_times, self.ingested_at, self.origins, self.offsets)),
        )  # fmt: skip


def concat(batches: Sequence[RowBatch]) -> RowBatch:
    """One batch of all rows, in order; `batches` is not empty and has one schema."""
    first = batches[0]
    if len(batches) == 1:
        return first
    columns = [
        pa.concat_arrays([_flat(getattr(batch, name)) for batch in batches])
        for name in ("ids", "keys", "event_times", "ingested_at", "origins", "offsets")
    ]
    return RowBatch(pa.concat_tables([batch.table for batch in batches]), first.schema, *columns)


def _flat(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def empty(schema: RowSchema) -> RowBatch:
    """A batch without rows."""
    text, number = pa.array([], pa.string()), pa.array([], pa.int64())
    return RowBatch(schema.to_arrow().empty_table(), schema, text, text, number, number, text, number)
