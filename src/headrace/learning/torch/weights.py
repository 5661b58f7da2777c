"""A model's dense weights as plain tensors by name: copied, loaded into a model, digested, written and read."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from headrace.foundation.errors import CorruptDataError

Weights = Mapping[str, Tensor]
"""Parameters and persistent buffers by name; a tied matrix once. Never changed after creation."""


def live(model: nn.Module) -> dict[str, Tensor]:
    """A model's actual parameters and persistent buffers, each once, under the first of its names."""
    first: dict[int, str] = {}
    state = model.state_dict(keep_vars=True)
    for name, tensor in state.items():
        first.setdefault(id(tensor), name)
    return {name: tensor for name, tensor in state.items() if first[id(tensor)] == name}


def digest(weights: Weights) -> str:
    """SHA-256 over name, type, shape and bytes of every tensor, in order of name."""
    total = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name].contiguous().cpu()
        total.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        total.update(cast("Any", tensor.reshape(-1).view(torch.uint8).numpy()))
    return total.hexdigest()


def write_tensors(path: Path, tensors: Weights) -> None:
    save_file({name: tensor.contiguous().cpu() for name, tensor in tensors.items()}, path, metadata={"format": "pt"})


def read_tensors(path: Path, device: torch.device) -> dict[str, Tensor]:
    """Fresh, aligned copies: kernels may round differently on memory aligned differently from a fresh allocation."""
    try:
        return {name: tensor.to(device, copy=True) for name, tensor in load_file(path).items()}
    except (SafetensorError, OSError) as error:
        raise CorruptDataError(f"the tensors cannot be read: {error}", where=str(path)) from error


def rounded(weights: Weights, dtype: torch.dtype) -> dict[str, Tensor]:
    """Floating-point tensors in `dtype`; the same tensors if they already are."""
    return {name: t.to(dtype) if t.is_floating_point() else t for name, t in weights.items()}
