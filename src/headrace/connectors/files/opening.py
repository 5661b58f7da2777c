"""Opens readers for the formats, and samples files to infer a schema."""

from itertools import islice
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from headrace.connectors.files.byte_stream import ByteStream, GzipStream, PlainStream
from headrace.connectors.files.discovery import FoundFile
from headrace.connectors.files.options import Options
from headrace.connectors.files.parquet_reader import ParquetReader
from headrace.connectors.files.piece import Piece, PieceMaker
from headrace.connectors.files.position import FileState
from headrace.connectors.files.text_reader import BLOCK_BYTES, TextReader
from headrace.connectors.records.csv_records import CsvRecords, iterate_fields, read_header
from headrace.connectors.records.debezium import DebeziumLines, flat_sample
from headrace.connectors.records.inference import SAMPLE_RECORDS, infer_json, infer_text
from headrace.connectors.records.json_lines import JsonLines
from headrace.connectors.records.rows import RowMaker
from headrace.events.schema import Column, RowSchema, type_name
from headrace.foundation.errors import CorruptDataError, HeadraceError

_SAMPLE_BYTES = 4 << 20


class FileReader(Protocol):
    """One file, read forward."""

    @property
    def holds_data(self) -> bool: ...

    def next(self) -> Piece | None: ...

    def close(self) -> None: ...


class Opener:
    """Opens one source's files."""

    def __init__(self, options: Options, connector: str, maker: RowMaker, *, block_bytes: int = BLOCK_BYTES) -> None:
        self._options = options
        self._connector = connector
        self._maker = maker
        self._block_bytes = block_bytes
        rows = JsonLines(maker.schema, options.max_record_bytes)
        self._json = rows if options.envelope == "none" else DebeziumLines(rows, options.max_record_bytes)

    def open(self, file: FoundFile, state: FileState) -> FileReader | None:
        """None: a CSV file whose header has not been written yet."""
        pieces = PieceMaker(self._maker, self._connector, file.name)
        final = not self._options.follow
        if file.format == "parquet":
            return ParquetReader(file.path, self._maker.schema, pieces, state)
        parser: JsonLines | DebeziumLines | CsvRecords = self._json
        if file.format == "csv":
            header = _header(file, self._options, final=final)
            if header is None:
                return None
            parser = CsvRecords(self._maker.schema, header[0], self._options.delimiter, self._options.max_record_bytes)
            if state.offset == 0:
                state.offset, state.line = header[1], header[2]
        return TextReader(
            _stream(file, state.offset), parser, pieces, state,
            final=final, max_record_bytes=self._options.max_record_bytes, block_bytes=self._block_bytes,
        )  # fmt: skip


def infer_schema(files: list[FoundFile], options: Options) -> RowSchema | None:
    """From the first records of the first file that has any; None: no records yet."""
    for file in files:
        try:
            schema = _infer(file, options)
        except (HeadraceError, OSError, pa.ArrowException):
            continue
        if schema is not None:
            return schema
    return None


def _infer(file: FoundFile, options: Options) -> RowSchema | None:
    if file.format == "parquet":
        with pq.ParquetFile(file.path) as parquet:
            return RowSchema(
                tuple(Column(field.name, type_name(_value_type(field.type))) for field in parquet.schema_arrow)
            )
    sample = _sample(file, 0)
    if file.format == "json":
        lines = sample.removeprefix(b"\xef\xbb\xbf").split(b"\n")[:SAMPLE_RECORDS]
        return infer_json(lines if options.envelope == "none" else flat_sample(lines))
    header = _header(file, options, final=not options.follow)
    if header is None:
        return None
    sample = _sample(file, header[1])
    whole = len(sample) < _SAMPLE_BYTES and not options.follow
    records = list(islice(iterate_fields(sample, options.delimiter, final=whole), SAMPLE_RECORDS))
    return infer_text(header[0], records) if records else None


def _value_type(kind: pa.DataType) -> pa.DataType:
    """The type behind a dictionary, and the nearest type where SQL has no match."""
    if pa.types.is_dictionary(kind):
        return _value_type(kind.value_type)
    if pa.types.is_unsigned_integer(kind):
        return {8: pa.int16(), 16: pa.int32(), 32: pa.int64()}.get(kind.bit_width, pa.decimal128(20, 0))
    if pa.types.is_timestamp(kind) and kind.unit in ("ns", "s"):
        return pa.timestamp("us" if kind.unit == "ns" else "ms", kind.tz)
    if pa.types.is_date64(kind):
        return pa.date32()
    if (
        pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_struct(kind)
        or pa.types.is_map(kind)
    ):
        return pa.string()
    if pa.types.is_time(kind):
        return pa.time64("us")
    if pa.types.is_float16(kind):
        return pa.float32()
    if pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind) or pa.types.is_binary_view(kind):
        return pa.binary()
    return pa.string() if pa.types.is_null(kind) else kind


def _header(file: FoundFile, options: Options, *, final: bool) -> tuple[list[str], int, int] | None:
    """Names, bytes and lines of a CSV file's header."""
    data = _sample(file, 0)
    bom = 3 if data.startswith(b"\xef\xbb\xbf") else 0
    data = data[bom:]
    size = len(data)
    if final and data and b"\n" not in data:
        data += b"\n"
    found = read_header(data, options.delimiter)
    if found is None:
        if final and data:
            raise CorruptDataError("the file's header is not valid CSV", where=str(file.path))
        return None
    return found[0], min(found[1], size) + bom, data[: found[1]].count(b"\n")


def _sample(file: FoundFile, offset: int) -> bytes:
    stream = _stream(file, offset)
    try:
        return stream.read(_SAMPLE_BYTES)
    finally:
        stream.close()


def _stream(file: FoundFile, offset: int) -> ByteStream:
    return GzipStream(file.path, offset) if file.gzip else PlainStream(file.path, offset)
