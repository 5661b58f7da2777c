"""Arrow's compute functions, and whole numbers between Arrow and NumPy.

pyarrow creates its compute functions at import time, invisible to type checkers. `pa.array`, `pa.scalar`,
`to_numpy` and plain constants in a compute function make pyarrow look for pandas and load it if installed, which costs more
than a second and 40 MB. The hot path uses buffers instead.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute

pc: Any = pyarrow.compute


def int64_array(values: npt.NDArray[np.int64]) -> pa.Array:
    """int64 [n] without NULLs, sharing memory."""
    values = np.ascontiguousarray(values, np.int64)
    return pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(values)])


def int64_numpy(values: pa.Array) -> npt.NDArray[np.int64]:
    """The numbers of an int64 array without NULLs, sharing memory."""
    assert values.type == pa.int64()
    assert not values.null_count
    return np.frombuffer(values.buffers()[1], np.int64)[values.offset : values.offset + len(values)]


def text_scalar(text: str) -> pa.Scalar:
    """A string constant for a compute function."""
    data = text.encode()
    offsets = np.array([0, len(data)], np.int32)
    return pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(offsets), pa.py_buffer(data)])[0]


def empty_texts(count: int) -> pa.Array:
    """[count] empty strings."""
    offsets = np.zeros(count + 1, np.int32)
    return pa.Array.from_buffers(pa.string(), count, [None, pa.py_buffer(offsets), pa.py_buffer(b"")])


def surrounded(before: str, texts: pa.Array, behind: str = "") -> pa.Array:
    """Each text between two constants."""
    return pc.binary_join_element_wise(text_scalar(before), texts, text_scalar(behind), text_scalar(""))
