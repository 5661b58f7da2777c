"""How rows are printed: JSON lines, CSV, a table, or a Parquet file."""

import sys
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
from pyarrow import csv, parquet

from headrace.doors.cli.common import RowOutput, print_table
from headrace.events.row_batch import RowBatch
from headrace.events.row_codec import batch_to_records, row_values
from headrace.foundation.errors import InvalidDeclarationError
from headrace.log.record import Record


class RowWriter(AbstractContextManager["RowWriter"]):
    """Takes batches of rows; flushed after each, so that a checkpoint never runs ahead of what was printed."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def write(self, batch: RowBatch) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """Writes what is held back."""


class JsonLines(RowWriter):
    """Canonical JSON, a row per line."""

    def write(self, batch: RowBatch) -> None:
        sys.stdout.buffer.write(b"".join(record.value + b"\n" for record in batch_to_records(batch)))
        sys.stdout.buffer.flush()


class Csv(RowWriter):
    """A header, then a line per row."""

    def __init__(self) -> None:
        self._header = True

    def write(self, batch: RowBatch) -> None:
        sink = pa.BufferOutputStream()
        csv.write_csv(batch.table, sink, csv.WriteOptions(include_header=self._header))
        self._header = False
        sys.stdout.buffer.write(sink.getvalue().to_pybytes())
        sys.stdout.buffer.flush()


class Table(RowWriter):
    """All rows at the end, in columns."""

    def __init__(self) -> None:
        self._rows: list[dict[str, object]] = []

    def write(self, batch: RowBatch) -> None:
        for one in batch_to_records(batch):
            self._rows.append(row_values(Record(0, one.id, one.kind, one.value, 0, "", "", 0)))

    def close(self) -> None:
        print_table(self._rows, list(self._rows[0]) if self._rows else [])


class Parquet(RowWriter):
    """One file, made with the first row's schema."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: parquet.ParquetWriter | None = None

    def write(self, batch: RowBatch) -> None:
        self._writer = self._writer or parquet.ParquetWriter(self._path, batch.table.schema)
        self._writer.write_table(batch.table)

    def close(self) -> None:
        if self._writer:
            self._writer.close()


def open_writer(output: RowOutput, out: Path | None) -> RowWriter:
    """InvalidDeclarationError where Parquet has no file to go to."""
    match output:
        case RowOutput.jsonl:
            return JsonLines()
        case RowOutput.csv:
            return Csv()
        case RowOutput.table:
            return Table()
        case RowOutput.parquet:
            if out is None:
                raise InvalidDeclarationError("parquet needs a file to write to", next_step="Pass --out FILE.")
            return Parquet(out)
