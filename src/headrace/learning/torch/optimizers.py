"""Optimisers sharing one learning rate: Muon for hidden matrices and AdamW for the rest, or AdamW alone."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from headrace.learning.torch.muon import StackedMuon

CLIP_NORM = 1.0
"""Maximum norm of all gradients together: one odd example cannot ruin the weights."""

NamedParameters = Sequence[tuple[str, nn.Parameter]]


def build(parameters: NamedParameters, embeddings: set[int], *, muon: bool, learning_rate: float) -> list[Optimizer]:
    """`embeddings`: ids of the input and output tables, which AdamW trains even if Muon trains matrices.

    Muon's steps are scaled to AdamW's root mean square (Liu et al. 2025, Muon is Scalable for LLM Training), so that one
    learning rate serves both. No weight decay: a stream of short answers never overfits in a way that decay would fix.
    """
    matrices = [p for _, p in parameters if muon and p.ndim == 2 and id(p) not in embeddings]
    chosen = {id(p) for p in matrices}
    others = [p for _, p in parameters if id(p) not in chosen]
    optimizers: list[Optimizer] = []
    if matrices:
        optimizers.append(StackedMuon(matrices, lr=learning_rate))
    if others:
        optimizers.append(AdamW(others, lr=learning_rate, betas=(0.9, 0.95), weight_decay=0.0, fused=True))
    return optimizers


def warmed_up(learning_rate: float, steps_since: int, warmup_steps: int) -> float:
    """Linear from learning_rate / warmup_steps, reaching the full rate at step `warmup_steps`, then constant."""
    return learning_rate * min(1.0, (steps_since + 1) / max(1, warmup_steps))


def set_learning_rate(optimizers: Sequence[Optimizer], learning_rate: float) -> None:
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate


def step(optimizers: Sequence[Optimizer], parameters: NamedParameters) -> None:
    """Clips, steps and clears the gradients."""
    torch.nn.utils.clip_grad_norm_([p for _, p in parameters], CLIP_NORM, error_if_nonfinite=False, foreach=True)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def dump(optimizers: Sequence[Optimizer], parameters: NamedParameters) -> dict[str, Tensor]:
    """Every tensor of the optimisers' state as `PARAMETER/STATE`."""
    names = {id(p): name for name, p in parameters}
    return {
        f"{names[id(p)]}/{key}": cast("Tensor", value)
        for optimizer in optimizers
        for p, state in cast("Mapping[Tensor, dict[str, Any]]", optimizer.state).items()
        for key, value in state.items()
    }


def put_back(optimizers: Sequence[Optimizer], parameters: NamedParameters, tensors: Mapping[str, Tensor]) -> None:
    """Loads `dump`'s result into fresh optimisers of the same parameters."""
    by_name = dict(parameters)
    owner = {id(p): optimizer for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]}
    for optimizer in optimizers:
        optimizer.state.clear()
    for key, value in tensors.items():
        name, _, state = key.rpartition("/")
        parameter = by_name[name]
        device = parameter.device
        owner[id(parameter)].state[parameter][state] = value.to(device, copy=True)
