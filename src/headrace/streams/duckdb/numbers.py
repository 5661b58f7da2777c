"""Between numpy or Python and Arrow, without a copy where there need be none.

pyarrow's own conversions load pandas, where it is installed: half a second and 50 MB for nothing.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Numbers = npt.NDArray[np.int64]
Bits = npt.NDArray[np.bool_]


def from_numbers(values: Numbers) -> pa.Array:
    """int64 [n], sharing memory."""
    values = np.ascontiguousarray(values, np.int64)
    return pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(values)])


def from_bits(values: Bits) -> pa.Array:
    """The same as Arrow has it, eight to a byte."""
    packed = np.packbits(values, bitorder="little")
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, pa.py_buffer(packed)])


def from_texts(values: list[str]) -> pa.Array:
    """Text for each value; none is NULL."""
    encoded = [value.encode() for value in values]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    return pa.Array.from_buffers(pa.string(), len(values), [None, pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))])


def to_numbers(column: pa.Array | pa.ChunkedArray) -> Numbers:
    """int64 [n] of a column without NULLs, read-only."""
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    if column.null_count:
        raise ValueError("a time is NULL")
    if not len(column):
        return np.empty(0, np.int64)
    return np.frombuffer(column.buffers()[1], np.int64, len(column), column.offset * 8)
