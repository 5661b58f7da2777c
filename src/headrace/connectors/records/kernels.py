"""Arrow's compute functions, and whole numbers between Arrow and numpy.

pyarrow makes its compute functions while it is imported, where no type checker can see them. Numbers pass by their
buffers: nothing is copied, and pyarrow does not look for pandas, which takes longer than a block of rows.
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
