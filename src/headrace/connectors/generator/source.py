"""The source of synthetic events."""

from dataclasses import replace

import msgspec
import numpy as np
import pyarrow as pa

from headrace.connectors.generator.fields import column, flink_type
from headrace.connectors.generator.options import Options
from headrace.connectors.records.arrow_columns import type_table
from headrace.connectors.records.dead_letters import dead_letter
from headrace.connectors.records.kernels import int64_array, int64_numpy
from headrace.connectors.records.rows import Arrivals, RowMaker
from headrace.connectors.records.typed_block import Reject
from headrace.connectors.source import SourceBatch, SourceContext, SourceOptions
from headrace.events.dead_letter import DeadLetter
from headrace.events.schema import Column, RowSchema

_ROUNDING = 1e-5
"""Rows: tolerance for the clock's rounding when a row is due."""


class _Position(msgspec.Struct):
    """Rows emitted so far."""

    row: int = 0


def open_source(options: SourceOptions, context: SourceContext) -> "GeneratorSource":
    """Opens a generator as a source; see `Options` for its settings."""
    return GeneratorSource(options, context)


class GeneratorSource:
    """See the port. The position is the number of the next row, from 0. With a rate, time counts from `open` on."""

    def __init__(self, options: SourceOptions, context: SourceContext) -> None:
        self._source = options
        self._options = Options.model_validate(dict(options.options))
        self._clock = context.clock
        made = RowSchema(tuple(Column(field.name, flink_type(field)) for field in self._options.fields))
        self._schema = options.schema or made
        self._maker = RowMaker(options, self._schema, self._clock)
        self._next = 0
        self._first = 0
        self._opened = 0.0

    @property
    def bounded(self) -> bool:
        return self._options.count > 0

    @property
    def schema(self) -> RowSchema:
        return self._schema

    def open(self, position: bytes | None) -> None:
        self._next = _Position().row if position is None else msgspec.json.decode(position, type=_Position).row
        self._first, self._opened = self._next, self._clock.monotonic()

    def poll(self, max_rows: int, timeout_seconds: float) -> SourceBatch:
        deadline = self._clock.monotonic() + timeout_seconds
        if self._ended():
            return SourceBatch(None, (), self._position(), end=True)
        while (due := min(self._due(), max_rows)) == 0:
            left = deadline - self._clock.monotonic()
            if left <= 0:
                return SourceBatch(None, (), self._position(), waiting=True)
            self._clock.sleep(min(left, self._until_next()))
        rows = np.arange(self._next, self._next + due)
        self._next += due
        return self._batch(rows)

    def lag(self) -> int | None:
        """Rows that are due; None: unknown without a rate and an end."""
        if self._options.rate:
            return self._due()
        return self._options.count - self._next if self._options.count else None

    def close(self) -> None:
        """Does nothing: nothing is open."""

    def _ended(self) -> bool:
        return 0 < self._options.count <= self._next

    def _due(self) -> int:
        """Rows that may be emitted now."""
        left = self._options.count - self._next if self._options.count else 2**62
        if not self._options.rate:
            return left
        passed = self._clock.monotonic() - self._opened
        return max(0, min(left, self._first + 1 + int(passed * self._options.rate + _ROUNDING) - self._next))

    def _until_next(self) -> float:
        """Seconds until the next row is due, always more than 0."""
        at = self._opened + (self._next - self._first) / self._options.rate
        return max(at - self._clock.monotonic(), 0.001)

    def _batch(self, rows: np.ndarray) -> SourceBatch:
        values = {field.name: column(field, self._options.seed, rows) for field in self._options.fields}
        made = pa.table(values)
        table, rejects = type_table(made, self._schema)
        good = np.delete(rows, [reject.index for reject in rejects]) if rejects else rows
        batch, refused = self._maker.make(table, Arrivals("", good))
        faults = [*rejects, *(Reject(int(good[fault.index] - rows[0]), fault.code, fault.reason) for fault in refused)]
        batch = replace(batch, offsets=int64_array(good[int64_numpy(batch.offsets)]))
        dead = [
            self._letter(fault, int(rows[fault.index]), made) for fault in sorted(faults, key=lambda fault: fault.index)
        ]
        return SourceBatch(batch if batch.num_rows else None, dead, self._position(), end=self._ended())

    def _letter(self, fault: Reject, row: int, made: pa.Table) -> tuple[str, DeadLetter]:
        shown = {name: str(value) for name, value in made.slice(fault.index, 1).to_pylist()[0].items()}
        return dead_letter(
            source=self._source.id.name, position=str(row), code=fault.code, reason=f"row {row}: {fault.reason}",
            raw=msgspec.json.encode(shown),
        )  # fmt: skip

    def _position(self) -> bytes:
        return msgspec.json.encode(_Position(self._next))
