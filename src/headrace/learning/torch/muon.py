"""Muon over stacks: matrices of the same shape are updated in one batched call.

The step of `torch.optim.Muon` (Jordan et al. 2024, Muon: an optimizer for hidden layers), scaled to the root mean square of
AdamW's steps (Liu et al. 2025, Muon is Scalable for LLM Training, §2.2). A small model has many small matrices, and one call
per matrix costs four times its arithmetic; stacked, the step of a 169 k model takes a quarter of the time.
"""

from collections.abc import Iterable, Iterator
from itertools import groupby, islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
_STACK_NUMBERS = 2**23
"""Maximum numbers per stack: bounds the copies to 32 MiB each."""
_BF16_FROM = 256
"""Narrowest matrix whose orthogonalisation is faster in bf16 than in fp32."""


class StackedMuon(Optimizer):
    """For parameters that are matrices; state `momentum_buffer` as in torch.optim.Muon. No weight decay."""

    def __init__(self, parameters: Iterable[nn.Parameter], *, lr: float, momentum: float = 0.95) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    def step(self, closure: Any = None) -> Any:
        """One step from the existing gradients; closures are not supported."""
        assert closure is None
        with torch.no_grad():
            for group in self.param_groups:
                for stack in _stacks([p for p in group["params"] if p.grad is not None]):
                    self._step(stack, group["lr"], group["momentum"])

    def _step(self, stack: list[nn.Parameter], learning_rate: float, momentum: float) -> None:
        gradients = [p.grad for p in stack if p.grad is not None]
        buffers = [self._buffer(p) for p in stack]
        for buffer, gradient in zip(buffers, gradients, strict=True):
            buffer.lerp_(gradient, 1 - momentum)
        nesterov = torch.stack(gradients).lerp_(torch.stack(buffers), momentum)
        steps = orthogonal(nesterov)
        scale = 0.2 * max(steps.shape[1:]) ** 0.5
        for parameter, step in zip(stack, steps, strict=True):
            parameter.add_(step, alpha=-learning_rate * scale)

    def _buffer(self, parameter: nn.Parameter) -> Tensor:
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        return state["momentum_buffer"]


def _stacks(parameters: list[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    for shape, same in groupby(sorted(parameters, key=lambda p: p.shape), key=lambda p: p.shape):
        rest = iter(same)
        most = max(1, _STACK_NUMBERS // shape.numel())
        while stack := list(islice(rest, most)):
            yield stack


def orthogonal(matrices: Tensor) -> Tensor:
    """[count, rows, columns] → the nearest matrices with singular values about 1, by a quintic Newton-Schulz iteration."""
    a, b, c = _COEFFICIENTS
    x = matrices if matrices.shape[1] <= matrices.shape[2] else matrices.mT
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp_(min=1e-7)
    x = x.bfloat16() if min(x.shape[1:]) >= _BF16_FROM else x
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        update = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, update, x, beta=a)
    x = x.to(matrices.dtype)
    return x if matrices.shape[1] <= matrices.shape[2] else x.mT
