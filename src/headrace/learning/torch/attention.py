"""Causal attention over many sequences in one flat sequence, registered with transformers: any causal model trains without padding.

The flat sequence is [1, tokens] with position ids that restart. Each group of neighbours (`packing.Group`) is laid out as
[count, longest] and attended in one call; a sequence never sees what follows its end, because attention is causal.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from headrace.learning.torch.packing import Group

NAME = "headrace_packed"


class UnpackableError(Exception):
    """The model's attention does something that packed attention does not support."""


@dataclass(frozen=True, slots=True)
class Block:
    """A group with its tensors: each token's position in [count · longest], None if nothing is padded."""

    tokens: int
    count: int
    longest: int
    place: Tensor | None


_blocks: ContextVar[Sequence[Block]] = ContextVar("headrace_blocks")


def to_blocks(groups: Sequence[Group], device: torch.device) -> list[Block]:
    return [_to_block(group, device) for group in groups]


def _to_block(group: Group, device: torch.device) -> Block:
    count, longest = len(group.lengths), group.longest
    place = None
    if not group.even:
        flat = [row * longest + column for row, length in enumerate(group.lengths) for column in range(length)]
        place = torch.tensor(flat, device=device)
    return Block(group.tokens, count, longest, place)


@contextmanager
def packed(blocks: Sequence[Block]) -> Generator[None]:
    """Models opened with attention NAME attend within these blocks while the context lasts."""
    token = _blocks.set(blocks)
    try:
        yield
    finally:
        _blocks.reset(token)


class _Spread(torch.autograd.Function):
    """[tokens, …] → [count · longest, …], zero-padded; its gradient is `_Gather` and vice versa."""

    @staticmethod
    def forward(ctx: Any, flat: Tensor, place: Tensor, size: int) -> Tensor:
        ctx.save_for_backward(place)
        return flat.new_zeros((size, *flat.shape[1:])).index_copy_(0, place, flat)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (place,) = ctx.saved_tensors
        return grads[0].index_select(0, place), None, None


class _Gather(torch.autograd.Function):
    """[count · longest, …] → [tokens, …]."""

    @staticmethod
    def forward(ctx: Any, spread: Tensor, place: Tensor) -> Tensor:
        ctx.save_for_backward(place)
        ctx.size = spread.shape
        return spread.index_select(0, place)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (place,) = ctx.saved_tensors
        return grads[0].new_zeros(ctx.size).index_copy_(0, place, grads[0]), None


def _lay_out(part: Tensor, block: Block) -> Tensor:
    """[tokens, heads, channels] → [count, heads, longest, channels] of one block."""
    if block.place is not None:
        part = cast("Tensor", _Spread.apply(part, block.place, block.count * block.longest))
    return part.reshape(block.count, block.longest, *part.shape[1:]).transpose(1, 2)


def _attend(block: Block, parts: tuple[Tensor, ...], *, dropout: float, scaling: float | None) -> Tensor:
    """Queries, keys and values of a block, [tokens, heads, channels] each → [tokens, heads, channels]."""
    query, key, value = (_lay_out(part, block) for part in parts)
    out = scaled_dot_product_attention(
        query, key, value, dropout_p=dropout, is_causal=True, scale=scaling, enable_gqa=query.shape[1] != key.shape[1]
    )
    out = out.transpose(1, 2).reshape(block.count * block.longest, *out.shape[1::2])
    return out if block.place is None else cast("Tensor", _Gather.apply(out, block.place))


def packed_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """The function that transformers calls: [1, heads, tokens, channels] three times → [1, tokens, heads, channels].

    In fp32 on a CPU, regardless of autocast: the backward pass is about twice as fast as in bf16.
    """
    unknown = [name for name in ("softcap", "s_aux", "position_bias") if options.get(name) is not None]
    window = options.get("sliding_window")
    blocks = _blocks.get()
    if window is not None and max(block.longest for block in blocks) > window:
        unknown.append("sliding_window")
    if unknown or attention_mask is not None or not getattr(module, "is_causal", True):
        raise UnpackableError(f"attention with {', '.join(unknown) or 'its own mask'} cannot be packed")
    kind = value.dtype  # autocast leaves rotated queries and keys in fp32
    computed = torch.float32 if value.device.type == "cpu" else kind
    # split, not sliced: the gradient of a split is one concatenation, that of each slice a whole tensor of zeros
    sizes = [block.tokens for block in blocks]
    parts = [tensor.to(computed)[0].transpose(0, 1).split(sizes) for tensor in (query, key, value)]
    with torch.autocast(query.device.type, enabled=False):
        outs = [
            _attend(block, part, dropout=dropout, scaling=scaling)
            for block, part in zip(blocks, zip(*parts, strict=True), strict=True)
        ]
    out = outs[0] if len(outs) == 1 else torch.cat(outs)
    return out.unsqueeze(0).to(kind), None


AttentionInterface.register(NAME, packed_attention)
