"""Rows that wait: Arrow tables in the order in which they came, saved in chunks, so that a snapshot writes what is new alone."""

from collections.abc import Iterator, Mapping

import pyarrow as pa

from headrace.streams.duckdb.numbers import to_numbers

MERGE_ROWS = 65_536
"""Neighbouring chunks are merged up to this size, the smaller ones first, so that there are never many."""
_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")


def encode_table(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=_OPTIONS) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def decode_table(data: bytes) -> pa.Table:
    with pa.ipc.open_stream(pa.py_buffer(data)) as reader:
        return reader.read_all()


class _Chunk:
    def __init__(self, number: int, table: pa.Table, saved_rows: int) -> None:
        self.number, self.table, self.saved_rows = number, table, saved_rows
        self.span: tuple[int, int] | None = None


class ChunkStore:
    """Tables under numbers that grow; `prefix` names their entries."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._chunks: list[_Chunk] = []
        self._gone: set[int] = set()
        self._next = 0

    def __iter__(self) -> Iterator[pa.Table]:
        return (chunk.table for chunk in self._chunks)

    def spans(self, column: str) -> Iterator[tuple[pa.Table, tuple[int, int]]]:
        """Each table with the smallest and the largest value of a column of times when it was last whole."""
        for chunk in self._chunks:
            if chunk.span is None:
                values = to_numbers(chunk.table[column])
                chunk.span = int(values.min()), int(values.max())
            yield chunk.table, chunk.span

    @property
    def num_rows(self) -> int:
        return sum(chunk.table.num_rows for chunk in self._chunks)

    def append(self, table: pa.Table) -> None:
        if table.num_rows:
            self._chunks.append(_Chunk(self._next, table, 0))
            self._next += 1

    def replace(self, tables: list[pa.Table]) -> None:
        """New contents, one table for each of the present ones, each holding some of its rows in their order."""
        kept: list[_Chunk] = []
        for chunk, table in zip(self._chunks, tables, strict=True):
            chunk.table = table
            if table.num_rows:
                kept.append(chunk)
            elif chunk.saved_rows:
                self._gone.add(chunk.number)
        self._chunks = kept

    def snapshot(self) -> dict[str, bytes | None]:
        """What changed since the last one. A saved chunk is written again once three quarters of its rows have gone."""
        self._merge()
        entries: dict[str, bytes | None] = {self._key(number): None for number in sorted(self._gone)}
        self._gone.clear()
        for chunk in self._chunks:
            if chunk.saved_rows == 0 or chunk.table.num_rows * 4 < chunk.saved_rows:
                entries[self._key(chunk.number)] = encode_table(chunk.table)
                chunk.saved_rows = chunk.table.num_rows
        return entries

    def restore(self, state: Mapping[str, bytes]) -> None:
        """Takes the chunks in; they may hold rows that were dropped since they were written."""
        for key in sorted(one for one in state if one.startswith(self._prefix)):
            table = decode_table(state[key])
            number = int(key.removeprefix(self._prefix))
            self._chunks.append(_Chunk(number, table, table.num_rows))
            self._next = number + 1

    def _key(self, number: int) -> str:
        return f"{self._prefix}{number:012d}"

    def _merge(self) -> None:
        """Merges the newest chunks while the older of two is no larger than twice the newer."""
        while len(self._chunks) > 1:
            older, newer = self._chunks[-2:]
            rows = older.table.num_rows + newer.table.num_rows
            if older.table.num_rows > 2 * newer.table.num_rows or rows > MERGE_ROWS:
                return
            for chunk in (older, newer):
                if chunk.saved_rows:
                    self._gone.add(chunk.number)
            merged = pa.concat_tables([older.table, newer.table]).combine_chunks()
            self._chunks[-2:] = [_Chunk(self._next, merged, 0)]
            self._next += 1
