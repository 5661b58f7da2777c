"""Reads one Parquet file forward, by rows."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from headrace.connectors.files.piece import Piece, PieceMaker
from headrace.connectors.files.position import FileState
from headrace.connectors.records.arrow_columns import type_table
from headrace.connectors.records.dead_letters import shown_row
from headrace.connectors.records.typed_block import Places
from headrace.events.schema import RowSchema

_BATCH_ROWS = 32_768


class ParquetReader:
    """One file, from a given row on. A damaged or non-Parquet file is one dead letter."""

    def __init__(self, path: Path, schema: RowSchema, pieces: PieceMaker, state: FileState) -> None:
        self._path = path
        self._schema = schema
        self._pieces = pieces
        self._row = state.offset
        self._file: pq.ParquetFile | None = None
        self._batches: Iterator[tuple[pa.Table, int]] | None = None

    @property
    def holds_data(self) -> bool:
        return self._batches is not None

    def next(self) -> Piece | None:
        """The next rows; None: the end."""
        try:
            if self._batches is None:
                self._file = pq.ParquetFile(self._path, memory_map=False)
                _check_names(self._file, self._schema)
                self._batches = self._read(self._file, self._row)
            found = next(self._batches, None)
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # a system error; Arrow's errors about the content have no errno
            self._batches = iter(())
            reason = f"the file cannot be read as Parquet ({str(error).splitlines()[0][:200]})"
            return self._pieces.fault("corrupt_file", reason, self._row + 1, self._row, b"", ends_file=True)
        if found is None:
            return None
        table, first = found
        self._row = first + table.num_rows
        good, rejects = type_table(table, self._schema)
        numbers: Places = np.arange(first + 1, self._row + 1)
        return self._pieces.make(good, rejects, numbers, numbers, numbers, lambda index: shown_row(table, index))

    def _read(self, file: pq.ParquetFile, row: int) -> Iterator[tuple[pa.Table, int]]:
        """Tables with the number of their first row, from `row` on; earlier row groups are not read."""
        names = [name for name in self._schema.names if name in file.schema_arrow.names]
        first = 0
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            if first + rows <= row:
                first += rows
                continue
            for batch in file.iter_batches(_BATCH_ROWS, row_groups=[group], columns=names, use_threads=False):
                skip = min(max(row - first, 0), batch.num_rows)
                if skip < batch.num_rows:
                    yield pa.Table.from_batches([batch.slice(skip)]), first + skip
                first += batch.num_rows

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def _check_names(file: pq.ParquetFile, schema: RowSchema) -> None:
    """ArrowInvalid if a column name is ambiguous."""
    counts = Counter(file.schema_arrow.names)
    if twice := [name for name in schema.names if counts[name] > 1]:
        raise pa.ArrowInvalid(f"it has {counts[twice[0]]} columns named {twice[0]!r}")
