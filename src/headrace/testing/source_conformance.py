"""What every source promises: inherit `SourceConformance` and say how to open yours."""

from abc import ABC, abstractmethod
from typing import Any

import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.connectors.source import Source, SourceBatch
from headrace.events.dead_letter import DeadLetter
from headrace.events.origin import decode_origin

_SETTINGS = settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
)
_MOST_POLLS = 100_000
Row = tuple[str, str, int, str, tuple[tuple[str, Any], ...]]
"""id, key, event time, origin, columns"""


class SourceConformance(ABC):
    """The contract of `headrace.connectors.source.Source`, for a source whose input does not change while it is tested."""

    def saved(self) -> dict[str, bytes]:
        """What the batches taken so far made the source remember: for its `SourceContext`, if it does remember anything."""
        if not hasattr(self, "_saved"):
            self._saved: dict[str, bytes] = {}
        return self._saved

    @abstractmethod
    def make_source(self) -> Source:
        """A new source over the same input at every call, with a virtual clock; not yet opened."""

    def test_it_gives_records_and_an_end(self) -> None:
        rows, _, batches = self._drain(self.make_source(), [7])
        source = self.make_source()
        assert rows, "the suite needs an input with rows"
        assert batches[-1].end == source.bounded
        assert not any(batch.end for batch in batches[:-1])
        assert batches[-1].end != batches[-1].waiting

    def test_columns_are_typed_as_the_schema_says_and_equally_long(self) -> None:
        source = self.make_source()
        _, _, batches = self._drain(source, [50])
        assert source.schema is not None
        for rows in (batch.rows for batch in batches if batch.rows is not None):
            assert rows.schema == source.schema
            assert rows.table.schema.equals(source.schema.to_arrow())
            columns = (rows.ids, rows.keys, rows.event_times, rows.ingested_at, rows.origins, rows.offsets)
            assert {len(column) for column in columns} == {rows.num_rows}
            assert [column.type for column in columns] == [
                pa.string(), pa.string(), pa.int64(), pa.int64(), pa.string(), pa.int64(),
            ]  # fmt: skip
            assert not any(column.null_count for column in columns)

    def test_ids_differ_and_offsets_ascend(self) -> None:
        rows, _, batches = self._drain(self.make_source(), [3])
        ids = [row[0] for row in rows]
        offsets = [number for batch in batches if batch.rows for number in batch.rows.offsets.to_pylist()]
        assert len(set(ids)) == len(ids)
        assert offsets == sorted(set(offsets))

    def test_origins_name_a_place(self) -> None:
        rows, _, _ = self._drain(self.make_source(), [100])
        origins = [decode_origin(row[3]) for row in rows]
        assert all(origin.source or origin.topic for origin in origins)
        assert len({(origin.source, origin.position, origin.topic, origin.offset) for origin in origins}) == len(rows)

    @_SETTINGS
    @given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=8))
    def test_the_records_do_not_depend_on_the_size_of_batches(self, sizes: list[int]) -> None:
        rows, dead, _ = self._drain(self.make_source(), sizes)
        all_rows, all_dead, _ = self._drain(self.make_source(), [10**6])
        assert rows == all_rows
        assert dead == all_dead

    @_SETTINGS
    @given(before=st.lists(st.integers(1, 40), min_size=1, max_size=8), after=st.integers(1, 60))
    def test_resuming_at_any_position_gives_the_rest_and_nothing_else(self, before: list[int], after: int) -> None:
        all_rows, all_dead, _ = self._drain(self.make_source(), [10**6])
        source = self.make_source()
        self._start(source)
        rows: list[Row] = []
        dead: list[tuple[str, DeadLetter]] = []
        for size in before:
            batch = self._take(source, size)
            rows, dead = rows + _rows(batch), dead + list(batch.dead)
            source.close()
            source = self.make_source()
            source.open(batch.position)
        rest, rest_dead, _ = self._drain(source, [after], opened=True)
        assert rows + rest == all_rows
        assert dead + rest_dead == all_dead

    def test_a_source_read_to_its_end_has_nothing_more_after_a_restart(self) -> None:
        _, _, batches = self._drain(self.make_source(), [1000])
        source = self.make_source()
        source.open(batches[-1].position)
        rows, dead, again = self._drain(source, [1000], opened=True)
        assert (rows, dead) == ([], [])
        assert again[-1].end == source.bounded

    def _take(self, source: Source, size: int) -> SourceBatch:
        batch = source.poll(size, 0)
        assert batch.rows is None or 0 < batch.rows.num_rows <= size
        for key, value in batch.state.items():
            if value is None:
                self.saved().pop(key, None)
            else:
                self.saved()[key] = value
        return batch

    def _start(self, source: Source) -> None:
        self.saved().clear()
        source.open(None)

    def _drain(
        self, source: Source, sizes: list[int], *, opened: bool = False
    ) -> tuple[list[Row], list[tuple[str, DeadLetter]], list[SourceBatch]]:
        """Polls with those sizes, in turn, until the end or until nothing is new; closes the source."""
        if not opened:
            self._start(source)
        batches: list[SourceBatch] = []
        for turn in range(_MOST_POLLS):
            batches.append(self._take(source, sizes[turn % len(sizes)]))
            if batches[-1].end or batches[-1].waiting:
                break
        source.close()
        rows = [row for batch in batches for row in _rows(batch)]
        return rows, [letter for batch in batches for letter in batch.dead], batches


def _rows(batch: SourceBatch) -> list[Row]:
    if batch.rows is None:
        return []
    rows = batch.rows
    columns = (rows.ids, rows.keys, rows.event_times, rows.origins)
    values = [tuple(row.items()) for row in rows.table.to_pylist()]
    return [
        (*placed, row) for placed, row in zip(zip(*(c.to_pylist() for c in columns), strict=True), values, strict=True)
    ]
