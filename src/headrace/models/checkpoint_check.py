"""Inspects a checkpoint in Hugging Face's layout without loading it: is it complete, is it safe, what does it contain."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from headrace.foundation.errors import CorruptDataError, InvalidDeclarationError, NotFoundError
from headrace.models.json_file import read_json_object

_CODE = (".py", ".pyc", ".so")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack")
_DTYPE_BYTES = {
    "F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2,
    "F8_E4M3": 1, "F8_E5M2": 1, "I8": 1, "U8": 1, "BOOL": 1,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class CheckpointFacts:
    """What the files contain."""

    architecture: str
    """For example LlamaForCausalLM."""
    parameters: int
    """Numbers in the weight files; tied matrices count once."""
    dtype: str
    """The most common dtype, in safetensors' notation: F32, BF16 …"""
    vocabulary: int
    context: int
    """Longest sequence in tokens; 0 if the checkpoint does not say."""
    files: tuple[str, ...]
    """The weight files."""


def inspect_checkpoint(path: Path) -> CheckpointFacts:
    """Reads only config.json and the headers of the weights.

    NotFoundError: no such directory or no config. InvalidDeclarationError: pickled weights, or the checkpoint's own code.
    CorruptDataError: a file is cut off or missing.
    """
    config = _read_config(path)
    _refuse_code(path, config)
    files = _weight_files(path)
    counts: dict[str, int] = {}
    for file in files:
        for dtype, count in _read_header(file).items():
            counts[dtype] = counts.get(dtype, 0) + count
    text = cast("dict[str, Any]", config.get("text_config") or config)
    return CheckpointFacts(
        architecture=(config.get("architectures") or [config.get("model_type", "unknown")])[0],
        parameters=sum(counts.values()),
        dtype=max(counts, key=lambda dtype: counts[dtype]),
        vocabulary=int(text.get("vocab_size", 0)),
        context=int(text.get("max_position_embeddings") or 0),
        files=tuple(file.name for file in files),
    )


def _read_config(path: Path) -> dict[str, Any]:
    file = path / "config.json"
    if not file.is_file():
        what = "is not a checkpoint: it has no config.json" if path.is_dir() else "does not exist"
        raise NotFoundError(
            f"{path} {what}",
            next_step="Give a local directory in Hugging Face's layout, or create one with `headrace models new`.",
        )
    return read_json_object(file)


def _refuse_code(path: Path, config: dict[str, Any]) -> None:
    tokenizer = path / "tokenizer_config.json"
    names_code = "auto_map" in config or (tokenizer.is_file() and '"auto_map"' in tokenizer.read_text(encoding="utf-8"))
    if names_code or any(file.suffix in _CODE for file in path.iterdir()):
        raise InvalidDeclarationError(
            "the checkpoint contains its own code (auto_map or a program file), which Headrace never runs",
            where=str(path),
            next_step="Use a checkpoint whose architecture transformers supports natively.",
        )


def _weight_files(path: Path) -> list[Path]:
    index = path / "model.safetensors.index.json"
    if index.is_file():
        try:
            names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        except (ValueError, KeyError, AttributeError) as error:
            raise CorruptDataError("the weights index cannot be read", where=str(index)) from error
        missing = [name for name in names if Path(name).name != name or not (path / name).is_file()]
        if missing:
            raise CorruptDataError(f"the weights file {missing[0]} is missing", where=str(path))
        return [path / name for name in names]
    single = path / "model.safetensors"
    if single.is_file():
        return [single]
    if any(file.suffix in _PICKLES for file in path.iterdir()):
        raise InvalidDeclarationError(
            "the weights are pickled, and loading a pickle can run its code: only safetensors are accepted",
            where=str(path),
            next_step="Convert them with transformers' save_pretrained(safe_serialization=True) in a place you trust.",
        )
    raise NotFoundError(f"{path} has no model.safetensors", next_step="Save the weights beside config.json.")


def _read_header(file: Path) -> dict[str, int]:
    """Numbers per dtype, after comparing the header with the file's size (format: 8 bytes length, JSON, data)."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if size < 8 or length > size - 8:
            raise CorruptDataError("the safetensors header is cut off", where=str(file))
        try:
            tensors = json.loads(stream.read(length))
            counts, end = _count(tensors)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CorruptDataError("the safetensors header cannot be read", where=str(file)) from error
    if 8 + length + end != size:
        raise CorruptDataError(f"the file has {size} bytes, but its header says {8 + length + end}", where=str(file))
    if not counts:
        raise CorruptDataError("the file contains no tensors", where=str(file))
    return counts


def _count(tensors: dict[str, Any]) -> tuple[dict[str, int], int]:
    counts: dict[str, int] = {}
    end = 0
    for name, tensor in tensors.items():
        if name == "__metadata__":
            continue
        numbers, (first, last) = math.prod(tensor["shape"]), tensor["data_offsets"]
        if last - first != numbers * _DTYPE_BYTES[tensor["dtype"]]:
            raise ValueError(name)
        counts[tensor["dtype"]] = counts.get(tensor["dtype"], 0) + numbers
        end = max(end, last)
    return counts, end
