"""Reads safetensors to fp32 arrays, bf16 included (which numpy has no type for)."""

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from headrace.foundation.errors import CorruptDataError, NotFoundError
from headrace.serving.checkpoint import read_json

_TYPES = {"F32": "<f4", "F16": "<f2", "BF16": "<u2", "F64": "<f8"}


class _Entry(msgspec.Struct):
    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


def read_tensors(checkpoint: Path) -> dict[str, NDArray[np.float32]]:
    """All floating-point tensors in `model.safetensors`, or in the shards listed in its index.

    CorruptDataError if a file is truncated or a shape does not fit its bytes; NotFoundError without weights.
    """
    return {name: tensor for file in _files(checkpoint) for name, tensor in _read(file)}


def _files(checkpoint: Path) -> list[Path]:
    single, index = checkpoint / "model.safetensors", checkpoint / "model.safetensors.index.json"
    if single.is_file():
        return [single]
    if not index.is_file():
        raise NotFoundError(
            f"{checkpoint} has no model.safetensors",
            next_step="Save the weights as safetensors; other formats are not read.",
        )
    weight_map = cast("dict[str, str]", read_json(index).get("weight_map", {}))
    return [checkpoint / Path(name).name for name in sorted(set(weight_map.values()))]


def _read(file: Path) -> Iterator[tuple[str, NDArray[np.float32]]]:
    try:
        with file.open("rb") as handle:
            data = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
    except (FileNotFoundError, ValueError) as error:  # ValueError: an empty file cannot be mapped
        raise CorruptDataError("the weights are missing or empty", where=str(file)) from error
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > len(data) - 8:
        _corrupt(file, "the header is cut off")
    try:
        header = msgspec.json.decode(data[8 : 8 + length], type=dict[str, dict[str, object]])
        entries = {name: msgspec.convert(entry, _Entry) for name, entry in header.items() if name != "__metadata__"}
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CorruptDataError(f"the header does not parse: {error}", where=str(file)) from error
    body = np.frombuffer(data, np.uint8, offset=8 + length)
    for name, entry in entries.items():
        yield name, _tensor(file, name, entry, body)


def _tensor(file: Path, name: str, entry: _Entry, body: NDArray[np.uint8]) -> NDArray[np.float32]:
    if entry.dtype not in _TYPES:
        _corrupt(file, f"{name} has the unsupported type {entry.dtype}; supported: {', '.join(_TYPES)}")
    kind = np.dtype(_TYPES[entry.dtype])
    start, end = entry.data_offsets
    if not 0 <= start <= end <= len(body) or end - start != kind.itemsize * int(np.prod(entry.shape)):
        _corrupt(file, f"the bytes of {name} do not fit its shape {entry.shape}")
    raw = body[start:end].view(kind).reshape(entry.shape)
    if entry.dtype == "BF16":
        return (raw.astype(np.uint32) << 16).view(np.float32)
    return raw.astype(np.float32, copy=False)


def _corrupt(file: Path, what: str) -> NoReturn:
    raise CorruptDataError(what, where=str(file), next_step="Use the previous version, or write this one again.")
