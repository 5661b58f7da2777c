"""Typed columns into a RowBatch: ids, keys, event times and origins, and the declaration's checks."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np
import pyarrow as pa

from headrace.connectors.records.dead_letters import UNREADABLE
from headrace.connectors.records.json_lines import without
from headrace.connectors.records.kernels import empty_texts, int64_array, int64_numpy, pc, surrounded, text_scalar
from headrace.connectors.records.text_columns import type_text
from headrace.connectors.records.typed_block import Places, Reject
from headrace.connectors.source import SourceOptions
from headrace.events.row_batch import RowBatch, concat, empty
from headrace.events.schema import RowSchema
from headrace.foundation.clock import Clock
from headrace.foundation.errors import InvalidDeclarationError

_SECONDS_BELOW = 100_000_000_000
"""Event-time numbers below this are seconds (until the year 5138), from it on milliseconds (since 1973)."""


@dataclass(frozen=True, slots=True)
class Arrivals:
    """The source of n records, apart from their columns."""

    source: str
    """For origins and ids: the file's name, or ''."""
    positions: Places
    """[n] line, row or offset"""
    ids: pa.Array | None = None
    """[n] ids that the records have already; None: derived as the port describes."""
    ingested_at: pa.Array | None = None
    """[n] ms since 1970 UTC; None: not stamped yet."""
    topic: str = ""
    """The topic they were read from, if any: positions are then its offsets."""

    def slice(self, start: int, length: int) -> "Arrivals":
        """The metadata of the `length` records from `start` on."""
        ids = None if self.ids is None else self.ids.slice(start, length)
        stamps = None if self.ingested_at is None else self.ingested_at.slice(start, length)
        return replace(self, positions=self.positions[start : start + length], ids=ids, ingested_at=stamps)


class RowMaker:
    """Checks and completes the rows of one source."""

    def __init__(self, options: SourceOptions, schema: RowSchema, clock: Clock) -> None:
        """InvalidDeclarationError if key, id or event time name a column that does not exist or has an unsuitable type."""
        self.schema = schema
        self._options = options
        self._clock = clock
        self._required = tuple(dict.fromkeys((*options.id_columns, *options.key)))
        self._not_null = tuple(column.name for column in schema.columns if column.type.upper().endswith(" NOT NULL"))
        _check_columns(options, schema)

    def make(self, table: pa.Table, arrivals: Arrivals) -> tuple[RowBatch, list[Reject]]:
        """The rows that pass, and why the others do not; n rows in, RowBatch.offsets = their index among the n.

        A row on which the checks themselves fail is also rejected: bisection finds it.
        """
        try:
            return self._made(table, arrivals)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - one row must not stop the others
            if table.num_rows <= 1:
                return empty(self.schema), [Reject(0, UNREADABLE, f"{type(error).__name__}: {error}")]
        half = table.num_rows // 2
        first, faults = self.make(table.slice(0, half), arrivals.slice(0, half))
        second, more = self.make(table.slice(half), arrivals.slice(half, table.num_rows - half))
        second = replace(second, offsets=int64_array(int64_numpy(second.offsets) + half))
        rows = concat([batch for batch in (first, second) if batch.num_rows] or [first])
        return rows, [*faults, *(replace(fault, index=fault.index + half) for fault in more)]

    def _made(self, table: pa.Table, arrivals: Arrivals) -> tuple[RowBatch, list[Reject]]:
        rejects: dict[int, Reject] = {}
        self._check_nulls(table, rejects)
        times = self._event_times(table, arrivals, rejects)
        self._check_ahead(times, rejects)
        indices = int64_array(np.arange(table.num_rows))
        batch = RowBatch(
            table, self.schema, self._ids(table, arrivals), joined(table, self._options.key), times,
            _stamps(arrivals, table.num_rows), self._origins(arrivals), indices,
        )  # fmt: skip
        return _kept(batch, rejects), [rejects[index] for index in sorted(rejects)]

    def _check_nulls(self, table: pa.Table, rejects: dict[int, Reject]) -> None:
        for name in (*self._required, *self._not_null):
            column = table.column(name)
            if column.null_count:
                for index in np.flatnonzero(column.is_null().to_numpy()).tolist():
                    rejects.setdefault(index, Reject(index, "missing_key", f"column {name} is missing or NULL"))

    def _event_times(self, table: pa.Table, arrivals: Arrivals, rejects: dict[int, Reject]) -> pa.Array:
        name = self._options.event_time.column
        if name is None:
            if arrivals.ingested_at is not None:
                return arrivals.ingested_at
            return int64_array(np.full(table.num_rows, self._clock.now_ms(), np.int64))
        column = table.column(name).combine_chunks()
        times, bad = _to_ms(column)
        for index in bad:
            reason = f"column {name}: {column[index].as_py()!r} is not a time"
            rejects.setdefault(index, Reject(index, "wrong_type", reason))
        if times.null_count:
            for index in np.flatnonzero(times.is_null().to_numpy(zero_copy_only=False)).tolist():
                rejects.setdefault(index, Reject(index, "missing_event_time", f"column {name} is missing or NULL"))
        return times

    def _check_ahead(self, times: pa.Array, rejects: dict[int, Reject]) -> None:
        event_time = self._options.event_time
        if event_time.historical or event_time.column is None or not len(times):
            return
        now = self._clock.now_ms()
        latest = pc.max(times).as_py()
        if latest is None or latest <= now + event_time.max_ahead_ms:
            return
        for index in np.flatnonzero(
            pc.fill_null(pc.greater(times, now + event_time.max_ahead_ms), False).to_numpy(zero_copy_only=False)
        ).tolist():
            by = times[index].as_py() - now
            reason = (
                f"column {event_time.column} is {by} ms ahead of the clock; the limit is {event_time.max_ahead_ms} ms "
                f"(eventTime.maxAhead; timeline: event turns the check off)"
            )
            rejects.setdefault(index, Reject(index, "ahead_of_clock", reason))

    def _ids(self, table: pa.Table, arrivals: Arrivals) -> pa.Array:
        name = self._options.id.name
        if self._options.id_columns:
            return surrounded(f"{name}:", joined(table, self._options.id_columns))
        if arrivals.ids is not None:
            return arrivals.ids
        return surrounded(f"{name}:{arrivals.source}@", _digits(arrivals.positions))

    def _origins(self, arrivals: Arrivals) -> pa.Array:
        """Like `encode_origin`, for whole columns."""
        if arrivals.topic:
            head = '{"topic":' + msgspec.json.encode(arrivals.topic).decode() + ',"offset":'
            return surrounded(head, _digits(arrivals.positions), "}")
        source = f"{self._options.id.name}:{arrivals.source}" if arrivals.source else self._options.id.name
        head = '{"source":' + msgspec.json.encode(source).decode() + ',"position":"'
        return surrounded(head, _digits(arrivals.positions), '"}')


def joined(table: pa.Table, names: Sequence[str]) -> pa.Array:
    """`foundation.ids.joined` of the columns' text for each row; '' if a column is NULL or none is named."""
    if not names:
        return empty_texts(table.num_rows)
    texts = [column_text(table.column(name).combine_chunks()) for name in names]
    texts = [pc.fill_null(text, text_scalar("")) if text.null_count else text for text in texts]
    return texts[0] if len(texts) == 1 else pc.binary_join_element_wise(*map(_escaped, texts), text_scalar("/"))


def _escaped(texts: pa.Array) -> pa.Array:
    """`foundation.ids.escaped` of each text."""
    for special in ("\\", "/"):
        texts = pc.replace_substring(texts, pattern=special, replacement="\\" + special)
    return texts


def column_text(column: pa.Array) -> pa.Array:
    """A column as canonical text, as in row records: DECIMAL plain without trailing zeros, timestamps ISO with Z."""
    kind = column.type
    if pa.types.is_string(kind):
        return column
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_date(kind):
        return column.cast(pa.string())
    if pa.types.is_timestamp(kind):
        text = pc.strftime(column.cast(pa.timestamp(kind.unit)), format="%Y-%m-%dT%H:%M:%S")
        return surrounded("", text, "Z") if kind.tz else text
    return pa.array([None if value is None else _plain(value) for value in column.to_pylist()], pa.string())


def _plain(value: object) -> str:
    from decimal import Decimal

    if isinstance(value, Decimal):
        text = format(value, "f")
        return (text.rstrip("0").rstrip(".") or "0") if "." in text else text
    return msgspec.json.encode(value).decode().strip('"')


def _digits(positions: Places) -> pa.Array:
    return int64_array(positions).cast(pa.string())


def _stamps(arrivals: Arrivals, count: int) -> pa.Array:
    return int64_array(np.zeros(count, np.int64)) if arrivals.ingested_at is None else arrivals.ingested_at


def _to_ms(column: pa.Array) -> tuple[pa.Array, list[int]]:
    """Event times in ms since 1970 UTC, and the indices of values that are not times."""
    kind, bad = column.type, list[int]()
    if pa.types.is_string(kind):
        column, bad = type_text(column, pa.timestamp("ms", "UTC"))
        kind = column.type
    if pa.types.is_integer(kind):
        numbers = column.cast(pa.int64())
        return pc.if_else(pc.less(pc.abs(numbers), _SECONDS_BELOW), pc.multiply(numbers, 1000), numbers), bad
    if pa.types.is_date(kind):
        column = column.cast(pa.timestamp("ms"))
    elif kind.unit != "ms":
        column = pc.floor_temporal(column, unit="millisecond").cast(pa.timestamp("ms", kind.tz))
    return column.cast(pa.int64()), bad


def _kept(batch: RowBatch, rejects: dict[int, Reject]) -> RowBatch:
    if not rejects:
        return batch
    keep = np.ones(batch.num_rows, dtype=bool)
    keep[list(rejects)] = False
    mask = pa.array(keep)
    columns = (batch.ids, batch.keys, batch.event_times, batch.ingested_at, batch.origins, batch.offsets)
    return RowBatch(without(batch.table, rejects), batch.schema, *(column.filter(mask) for column in columns))


def _check_columns(options: SourceOptions, schema: RowSchema) -> None:
    where = f"StreamConnector/{options.id.name}"
    wanted = {"spec.id": options.id_columns, "spec.key": options.key}
    if options.event_time.column is not None:
        wanted["spec.eventTime.column"] = (options.event_time.column,)
    for field, names in wanted.items():
        for name in names:
            if name not in schema.names:
                raise InvalidDeclarationError(
                    f"there is no column {name!r}", where=f"{where}: {field}",
                    next_step=f"use one of: {', '.join(schema.names)}",
                )  # fmt: skip
    if options.event_time.column is not None:
        _check_event_type(schema, options.event_time.column, where)


def _check_event_type(schema: RowSchema, name: str, where: str) -> None:
    kind = schema.to_arrow().field(name).type
    fit = pa.types.is_timestamp(kind) or pa.types.is_date(kind) or pa.types.is_string(kind)
    if not fit and kind not in (pa.int64(), pa.int32()):
        raise InvalidDeclarationError(
            f"column {name!r} of type {kind} cannot carry event time", where=f"{where}: spec.eventTime.column",
            next_step="declare it as TIMESTAMP_LTZ(3), TIMESTAMP(3), DATE, STRING (ISO) or BIGINT (epoch seconds or ms)",
        )  # fmt: skip
