"""JSON lines into columns.

Arrow reads a block whole; only if that fails, or the number of rows differs from the number of lines, is it split
into pieces and the faulty piece read line by line. Both ways give the same rows: a value fits a column exactly when
its text does (`text_columns`), so numbers may be quoted, and a number or an object in a STRING column is its JSON text.
An absent key is NULL, like `null`; of duplicate keys the last counts.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.json as pa_json

from headrace.connectors.records.text_columns import (
    LONG_EXPONENT,
    DoesNotFitError,
    finite,
    json_text,
    round_decimals,
    type_text,
)
from headrace.connectors.records.typed_block import Places, Reject, TypedBlock
from headrace.events.schema import RowSchema

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NEWLINE, _BRACE = ord("\n"), ord("{")
_LONG_EXPONENT = re.compile(LONG_EXPONENT.encode())
_PIECE_LINES = 1024
_PIECES = 8


@dataclass(frozen=True, slots=True)
class _Transport:
    """How a column leaves Arrow's JSON reader, and how it becomes the declared type."""

    kind: pa.DataType
    finish: Callable[[pa.Array], pa.Array]
    """Raises ArrowInvalid or DoesNotFitError if a value does not fit."""


class JsonLines:
    """The parser of one source. Not thread-safe."""

    def __init__(self, schema: RowSchema, max_record_bytes: int) -> None:
        self._schema = schema.to_arrow()
        self._types = {column.name: column.type for column in schema.columns}
        self._max_record_bytes = max_record_bytes
        self._transports = {field.name: _direct(field.type) for field in self._schema}
        self._options = self._parse_options()
        self._has_decimals = any(pa.types.is_decimal(field.type) for field in self._schema)

    def parse(self, data: bytes, *, final: bool) -> TypedBlock:
        """Reads the lines in `data`, which starts at a line's start. `final`: the last line is complete without a newline."""
        if final and data and not data.endswith(b"\n"):
            data += b"\n"
        view = np.frombuffer(data, np.uint8)
        ends = np.flatnonzero(view == _NEWLINE).astype(np.int64) + 1
        starts = np.concatenate([np.zeros(1, np.int64), ends])[:-1]
        line_numbers = np.arange(1, len(ends) + 1)
        kept = _not_blank(data, view, starts, ends)
        if kept is not None:
            starts, record_ends, line_numbers = starts[kept], ends[kept], line_numbers[kept]
        else:
            record_ends = ends
        table, rejects = self._columns(data, view, starts, record_ends)
        return TypedBlock(
            table=table, rejects=tuple(rejects), ends=record_ends, lines=line_numbers, last_lines=line_numbers,
            raw=lambda index: data[starts[index] : record_ends[index]].rstrip(b"\r\n"),
            consumed=int(ends[-1]) if len(ends) else 0, consumed_lines=len(ends),
        )  # fmt: skip

    def _columns(self, data: bytes, view: np.ndarray, starts: Places, ends: Places) -> tuple[pa.Table, list[Reject]]:
        if not len(ends):
            return pa.Table.from_batches([], self._schema), []
        whole = self._read_whole(data, view, starts, ends)
        if whole is not None:
            return whole
        if len(ends) <= _PIECE_LINES:
            return self._read_lines(
                [data[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
            )
        tables: list[pa.Table] = []
        rejects: list[Reject] = []
        for piece in np.array_split(np.arange(len(ends)), _PIECES):
            table, bad = self._columns(data, view, starts[piece], ends[piece])
            tables.append(table)
            rejects += [Reject(reject.index + int(piece[0]), reject.code, reject.reason) for reject in bad]
        return pa.concat_tables(tables), rejects

    def _read_whole(
        self, data: bytes, view: np.ndarray, starts: Places, ends: Places
    ) -> tuple[pa.Table, list[Reject]] | None:
        """Reads with Arrow, or returns None if a line may be at fault."""
        if (ends - starts).max() > self._max_record_bytes or not (view[starts] == _BRACE).all():
            return None
        block = memoryview(data)[int(starts[0]) : int(ends[-1])]
        if not _is_utf8(block) or (self._has_decimals and _LONG_EXPONENT.search(block)):
            return None
        table = self._try(block, len(ends))
        if table is None and self._adapt(
            [data[start:end] for start, end in zip(starts[:20].tolist(), ends[:20].tolist(), strict=True)]
        ):
            table = self._try(block, len(ends))
        return table

    def _try(self, block: memoryview, count: int) -> tuple[pa.Table, list[Reject]] | None:
        read = pa_json.ReadOptions(use_threads=False, block_size=len(block) + 1)
        try:
            table = pa_json.read_json(pa.py_buffer(block), read_options=read, parse_options=self._options)
            if table.num_rows != count:
                return None
            columns = [
                self._transports[name].finish(table.column(name).combine_chunks()) for name in self._schema.names
            ]
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001 - reading line by line identifies the faulty record
            return None
        return pa.Table.from_arrays(columns, schema=self._schema), []

    def _read_lines(self, lines: Sequence[bytes]) -> tuple[pa.Table, list[Reject]]:
        """Line by line: slow, but identifies the faulty ones."""
        rejects: dict[int, Reject] = {}
        objects: list[dict[str, msgspec.Raw]] = []
        for index, line in enumerate(lines):
            try:
                objects.append(self._object(line))
            except _LineError as error:
                rejects[index] = Reject(index, error.code, error.reason)
                objects.append({})
        columns = {field.name: type_text(_texts(objects, field.name, rejects), field.type) for field in self._schema}
        return self._assemble(columns, rejects, objects)

    def _object(self, line: bytes) -> dict[str, msgspec.Raw]:
        if len(line) > self._max_record_bytes:
            raise _LineError("too_long", f"the record has {len(line)} bytes; the limit is {self._max_record_bytes}")
        try:
            line.decode()
            found = _OBJECT.decode(line)
            return {name: found[name] for name in self._types if name in found}
        except UnicodeDecodeError as error:
            raise _LineError("invalid_utf8", f"byte {error.start + 1} of the record is not UTF-8") from error
        except msgspec.ValidationError as error:
            raise _LineError("not_an_object", f"the record is not a JSON object ({error})") from error
        except (msgspec.DecodeError, ValueError) as error:
            raise _LineError("malformed_json", str(error)) from error
        except RecursionError as error:
            raise _LineError("malformed_json", "the record nests too deeply") from error

    def _assemble(
        self,
        columns: dict[str, tuple[pa.Array, list[int]]],
        rejects: dict[int, Reject],
        objects: Sequence[dict[str, msgspec.Raw]],
    ) -> tuple[pa.Table, list[Reject]]:
        """The good rows of the typed columns; adds a reject for each value that does not fit."""
        for name, (_, bad) in columns.items():
            for index in bad:
                reason = f"column {name}: {_shown(objects[index].get(name))} is not {self._types[name]}"
                rejects.setdefault(index, Reject(index, "wrong_type", reason))
        table = pa.Table.from_arrays([columns[name][0] for name in self._schema.names], schema=self._schema)
        return without(table, rejects), [rejects[index] for index in sorted(rejects)]

    def _adapt(self, sample: Iterable[bytes]) -> bool:
        """Chooses transports from a sample of values. False: no change."""
        kinds: dict[str, set[str]] = {name: set() for name in self._types}
        for line in sample:
            try:
                found = self._object(line)
            except _LineError:
                continue
            for name, raw in found.items():
                kinds[name].add("string" if bytes(raw).startswith(b'"') else "other")
        adapted = {field.name: _adapted(field.type, kinds[field.name]) for field in self._schema}
        if all(adapted[name].kind == self._transports[name].kind for name in adapted):
            return False
        self._transports = adapted
        self._options = self._parse_options()
        return True

    def _parse_options(self) -> pa_json.ParseOptions:
        schema = pa.schema([(name, transport.kind) for name, transport in self._transports.items()])
        return pa_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")


class _LineError(Exception):
    """Why a line cannot be read."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def without(table: pa.Table, rejected: Iterable[int]) -> pa.Table:
    """The table without the rows at those indices."""
    indices = list(rejected)
    if not indices:
        return table
    keep = np.ones(table.num_rows, dtype=bool)
    keep[indices] = False
    return table.filter(pa.array(keep))


def _not_blank(data: bytes, view: np.ndarray, starts: Places, ends: Places) -> np.ndarray | None:
    """Numbers of the non-empty lines; None: all of them."""
    if (view[starts] == _BRACE).all():
        return None
    bounds = zip(starts.tolist(), ends.tolist(), strict=True)
    kept = [number for number, (start, end) in enumerate(bounds) if not data[start:end].isspace()]
    return np.array(kept, dtype=np.int64)


def _is_utf8(block: memoryview) -> bool:
    data = bytes(block)
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _texts(objects: Sequence[dict[str, msgspec.Raw]], name: str, rejects: dict[int, Reject]) -> pa.Array:
    """The column's texts. A string that is not valid text (a lone surrogate) is a reject."""
    texts: list[str | None] = []
    for index, found in enumerate(objects):
        try:
            texts.append(json_text(found.get(name)))
        except (msgspec.MsgspecError, ValueError) as error:
            rejects.setdefault(index, Reject(index, "malformed_json", f"column {name}: {error}"))
            texts.append(None)
    return pa.array(texts, pa.string())


def _shown(raw: msgspec.Raw | None) -> str:
    text = bytes(raw or b"null").decode(errors="backslashreplace")
    return text if len(text) <= 60 else text[:57] + "…"


def _direct(kind: pa.DataType) -> _Transport:
    """The fastest transport for a type, for values in JSON's own form."""
    if pa.types.is_decimal(kind):
        # Arrow reads 1e30 into decimal128 with a silent overflow; into 76 digits it refuses.
        return _Transport(pa.decimal256(76, kind.scale), lambda column: column.cast(kind))
    if pa.types.is_floating(kind):
        return _Transport(kind, finite)
    if pa.types.is_date(kind) or pa.types.is_time(kind) or pa.types.is_binary(kind):
        return _text_transport(kind)
    if pa.types.is_list(kind) and not (
        pa.types.is_boolean(kind.value_type)
        or pa.types.is_integer(kind.value_type)
        or pa.types.is_string(kind.value_type)
    ):
        return _text_transport(kind)
    return _Transport(kind, lambda column: column)


def _adapted(kind: pa.DataType, seen: set[str]) -> _Transport:
    """The transport for values in another form, according to a sample: quoted numbers, finer timestamps or decimals."""
    if pa.types.is_decimal(kind):
        return _Transport(pa.decimal256(76, 38), lambda column: round_decimals(column, kind))
    if seen == {"string"} and not pa.types.is_list(kind):
        return _text_transport(kind)
    return _direct(kind)


def _text_transport(kind: pa.DataType) -> _Transport:
    return _Transport(pa.string(), lambda column: _all_fit(column, kind))


def _all_fit(column: pa.Array, kind: pa.DataType) -> pa.Array:
    typed, bad = type_text(column, kind)
    if bad:
        raise DoesNotFitError
    return typed
