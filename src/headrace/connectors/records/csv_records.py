"""CSV records (RFC 4180) into columns; a quoted field may span lines.

Arrow reads a block whole; if that fails, or the number of records does not match the quotes, the block is read
record by record. Both ways give the same rows. An empty field is NULL, quoted or not. A quote that is not
closed within the maximum record size costs only its own line.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pa_csv

from headrace.connectors.records.json_lines import without
from headrace.connectors.records.text_columns import type_text
from headrace.connectors.records.typed_block import Places, Reject, TypedBlock
from headrace.events.schema import RowSchema

_NEWLINE, _QUOTE = ord("\n"), ord('"')
csv.field_size_limit(2**31 - 1)


class CsvRecords:
    """The parser of one file whose header is known. Not thread-safe."""

    def __init__(self, schema: RowSchema, header: Sequence[str], delimiter: str, max_record_bytes: int) -> None:
        self._schema = schema.to_arrow()
        self._types = {column.name: column.type for column in schema.columns}
        self._header = tuple(header)
        self._delimiter = delimiter
        self._max_record_bytes = max_record_bytes
        self._read = [name for name in self._schema.names if name in self._header]
        self._convert = pa_csv.ConvertOptions(
            column_types=dict.fromkeys(self._header, pa.string()), include_columns=self._read, null_values=[""],
            strings_can_be_null=True,
        )  # fmt: skip

    def parse(self, data: bytes, *, final: bool) -> TypedBlock:
        """Reads the records in `data`, which starts at a record's start. `final`: the last one is complete without a newline."""
        if final and data and not data.endswith(b"\n"):
            data += b"\n"
        return self._read_whole(data) or self._read_each(data, final=final)

    def _read_whole(self, data: bytes) -> TypedBlock | None:
        """Reads with Arrow, or returns None if a record may be at fault."""
        ends, lines = _record_ends(data, self._delimiter)
        if not len(ends) or not self._read:
            return None
        starts = np.concatenate([np.zeros(1, np.int64), ends])[:-1]
        if (ends - starts).max() > self._max_record_bytes:
            return None
        block = memoryview(data)[: int(ends[-1])]
        options = pa_csv.ReadOptions(use_threads=False, block_size=len(block) + 1, column_names=list(self._header))
        parse = pa_csv.ParseOptions(delimiter=self._delimiter, newlines_in_values=True)
        try:
            table = pa_csv.read_csv(pa.BufferReader(pa.py_buffer(block)), options, parse, self._convert)
        except pa.ArrowException:
            return None
        if table.num_rows != len(ends):
            return None
        columns = {name: type_text(self._column(table, name), kind) for name, kind in _types(self._schema)}
        texts = {name: table.column(name) for name in self._read}
        good, rejects = self._assemble(columns, texts, {})
        first_lines = np.concatenate([np.ones(1, np.int64), lines + 1])[:-1]
        return TypedBlock(
            table=good, rejects=tuple(rejects), ends=ends, lines=first_lines, last_lines=lines,
            raw=lambda index: data[starts[index] : ends[index]].rstrip(b"\r\n"),
            consumed=int(ends[-1]), consumed_lines=int(lines[-1]),
        )  # fmt: skip

    def _column(self, table: pa.Table, name: str) -> pa.Array:
        if name in self._read:
            return table.column(name).combine_chunks()
        return pa.nulls(table.num_rows, pa.string())

    def _read_each(self, data: bytes, *, final: bool) -> TypedBlock:
        """Record by record: slow, but identifies the faulty ones."""
        walk = _Walk(data, self._delimiter, self._max_record_bytes, final=final)
        records = list(walk)
        rejects: dict[int, Reject] = {}
        cells: list[dict[str, str]] = []
        for index, record in enumerate(records):
            problem = self._problem(record)
            if problem is not None:
                rejects[index] = Reject(index, *problem)
            cells.append({} if problem else dict(zip(self._header, record.fields, strict=True)))
        texts = {name: pa.array([cell.get(name) or None for cell in cells], pa.string()) for name in self._schema.names}
        columns = {name: type_text(texts[name], kind) for name, kind in _types(self._schema)}
        good, bad = self._assemble(columns, texts, rejects)
        return TypedBlock(
            table=good, rejects=tuple(bad), ends=_places(record.end for record in records),
            lines=_places(record.line for record in records),
            last_lines=_places(record.last_line for record in records),
            raw=lambda index: data[records[index].start : records[index].end].rstrip(b"\r\n"),
            consumed=walk.consumed, consumed_lines=walk.lines,
        )  # fmt: skip

    def _problem(self, record: "_Record") -> tuple[str, str] | None:
        if record.fault:
            return record.fault
        if len(record.fields) != len(self._header):
            return (
                "malformed_csv",
                f"the record has {len(record.fields)} fields, but the header has {len(self._header)}",
            )
        if any("\udc80" <= letter <= "\udcff" for text in record.fields if not text.isascii() for letter in text):
            return "invalid_utf8", "the record is not UTF-8"
        return None

    def _assemble(
        self, columns: dict[str, tuple[pa.Array, list[int]]], texts: dict[str, pa.Array], rejects: dict[int, Reject]
    ) -> tuple[pa.Table, list[Reject]]:
        for name, (_, bad) in columns.items():
            for index in bad:
                reason = f"column {name}: {texts[name][index].as_py()[:60]!r} is not {self._types[name]}"
                rejects.setdefault(index, Reject(index, "wrong_type", reason))
        table = pa.Table.from_arrays([columns[name][0] for name in self._schema.names], schema=self._schema)
        return without(table, rejects), [rejects[index] for index in sorted(rejects)]


@dataclass(slots=True)
class _Record:
    """A record in the block."""

    start: int
    end: int
    line: int
    last_line: int
    fields: list[str] = field(default_factory=list[str])
    fault: tuple[str, str] | None = None


class _Walk:
    """Walks over a block record by record."""

    def __init__(self, data: bytes, delimiter: str, max_record_bytes: int, *, final: bool) -> None:
        self.consumed = 0
        self.lines = 0
        self._data = data
        self._delimiter = delimiter
        self._limit = max_record_bytes
        self._final = final

    def __iter__(self) -> Iterator[_Record]:
        while (end := self._data.find(b"\n", self.consumed) + 1) > 0:
            if self._data[self.consumed : end].isspace():
                self.consumed, self.lines = end, self.lines + 1
                continue
            record = self._record(end)
            if record is None:
                return
            self.consumed, self.lines = record.end, record.last_line
            yield record

    def _record(self, first_end: int) -> _Record | None:
        """The record that starts here; None: it continues past the block."""
        start, line = self.consumed, self.lines + 1
        alone = _Record(start, first_end, line, line)
        if first_end - start > self._limit:
            size = first_end - start
            alone.fault = ("too_long", f"the record has {size} bytes; the limit is {self._limit}")
            return alone
        feed = _Lines(self._data, start, self._limit)
        reader = csv.reader(feed, delimiter=self._delimiter, strict=True)
        try:
            fields = next(reader)
        except (csv.Error, StopIteration) as error:
            if feed.starved and not feed.over_limit and not self._final:
                return None
            alone.fault = ("malformed_csv", _csv_reason(feed, error))
            return alone
        return _Record(start, feed.at, line, line + feed.count - 1, fields)


class _Lines:
    """Passes the lines from `start` on to the CSV reader, up to the maximum record size."""

    def __init__(self, data: bytes, start: int, limit: int) -> None:
        self.at = start
        self.count = 0
        self.starved = False
        self.over_limit = False
        self._data = data
        self._stop = start + limit

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        end = self._data.find(b"\n", self.at) + 1
        if end == 0 or end > self._stop:
            self.starved = True
            self.over_limit = end > self._stop or len(self._data) > self._stop
            raise StopIteration
        text = self._data[self.at : end].decode(errors="surrogateescape")
        self.at, self.count = end, self.count + 1
        return text


def _csv_reason(feed: _Lines, error: Exception) -> str:
    return "a quote is never closed" if feed.starved else str(error)


def _record_ends(data: bytes, delimiter: str) -> tuple[Places, Places]:
    """Offsets after the records, and their last line numbers; nothing if a quote is misplaced."""
    view = np.frombuffer(data, np.uint8)
    newlines = np.flatnonzero(view == _NEWLINE).astype(np.int64)
    numbers = np.arange(1, len(newlines) + 1, dtype=np.int64)
    if b'"' in data:
        quotes = np.flatnonzero(view == _QUOTE)
        if not _quotes_enclose_fields(view, quotes, delimiter):
            return newlines[:0], numbers[:0]
        outside = np.searchsorted(quotes, newlines) % 2 == 0
        newlines, numbers = newlines[outside], numbers[outside]
    return newlines + 1, numbers


def _quotes_enclose_fields(view: npt.NDArray[np.uint8], quotes: Places, delimiter: str) -> bool:
    """Whether every opening quote starts a field and every closing one ends it, with doubled quotes inside."""
    around = np.array([*delimiter.encode(), _NEWLINE, _QUOTE, ord("\r")], np.uint8)
    opening, closing = quotes[::2], quotes[1::2]
    before = view[opening[opening > 0] - 1]
    behind = view[closing[closing < len(view) - 1] + 1]
    return bool(np.isin(before, around).all() and np.isin(behind, around).all())


def _types(schema: pa.Schema) -> list[tuple[str, pa.DataType]]:
    return [(column.name, column.type) for column in schema]


def _places(values: Iterator[int]) -> Places:
    return np.fromiter(values, np.int64)


def read_header(data: bytes, delimiter: str) -> tuple[list[str], int] | None:
    """The names in the first record and its length in bytes; None: it is not complete yet."""
    feed = _Lines(data, 0, len(data))
    try:
        names = next(csv.reader(feed, delimiter=delimiter, strict=True))
    except (csv.Error, StopIteration):
        return None
    return [name.encode(errors="surrogateescape").decode(errors="replace") for name in names], feed.at


def iterate_fields(data: bytes, delimiter: str, *, final: bool) -> Iterator[list[str]]:
    """The fields of the records in `data`; faulty records are skipped."""
    if final and data and not data.endswith(b"\n"):
        data += b"\n"
    for record in _Walk(data, delimiter, len(data), final=final):
        if record.fault is None:
            yield record.fields
