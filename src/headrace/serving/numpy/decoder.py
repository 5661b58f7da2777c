"""The forward pass: a Llama-shaped decoder over rows at individual positions (Touvron et al. 2023)."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from headrace.serving.numpy.weights import Array, DecoderWeights, LayerWeights

Attend = Callable[[int, Array, Array, Array], Array]
"""(layer, queries [rows, heads, head_dim], keys, values [rows, kv_heads, head_dim]) → [rows, heads·head_dim]."""


def forward(weights: DecoderWeights, tokens: NDArray[np.intp], positions: NDArray[np.intp], attend: Attend) -> Array:
    """The last hidden states [rows, hidden] of `tokens` [rows] at `positions` [rows]; `attend` keeps the rows apart."""
    hidden = weights.embedding[tokens]
    cos, sin = weights.cos[positions][:, None], weights.sin[positions][:, None]
    for index, layer in enumerate(weights.layers):
        queries, keys, values = _project(weights, layer, hidden, cos, sin)
        mixed = attend(index, queries, keys, values) @ layer.output
        hidden += mixed if layer.output_bias is None else mixed + layer.output_bias
        hidden += _feed_forward(weights, layer, hidden)
    return hidden


def logits(weights: DecoderWeights, hidden: Array) -> Array:
    """[rows, vocabulary] of hidden states [rows, hidden]."""
    return np.matmul(_normalised(hidden, weights.shape.norm_eps) * weights.norm_gain, weights.head.T)


def _project(
    weights: DecoderWeights, layer: LayerWeights, hidden: Array, cos: Array, sin: Array
) -> tuple[Array, Array, Array]:
    shape = weights.shape
    together = _normalised(hidden, shape.norm_eps) @ layer.qkv
    if layer.qkv_bias is not None:
        together += layer.qkv_bias
    heads = together.reshape(len(hidden), shape.heads + 2 * shape.kv_heads, shape.head_dim)
    turning = heads[:, : shape.heads + shape.kv_heads]
    if layer.query_gain is not None and layer.key_gain is not None:
        gains = np.repeat([layer.query_gain, layer.key_gain], [shape.heads, shape.kv_heads], axis=0)
        turning = _normalised(turning, shape.norm_eps) * gains
    half = shape.head_dim // 2
    turned = np.concatenate([turning[..., half:], turning[..., :half]], axis=-1)
    turned *= sin
    turned += turning * cos
    return turned[:, : shape.heads], turned[:, shape.heads :], heads[:, shape.heads + shape.kv_heads :]


def _feed_forward(weights: DecoderWeights, layer: LayerWeights, hidden: Array) -> Array:
    """SwiGLU (Shazeer 2020): (silu(x·gate) ⊙ x·up)·down."""
    both = _normalised(hidden, weights.shape.norm_eps) @ layer.gate_up
    if layer.gate_up_bias is not None:
        both += layer.gate_up_bias
    gate, up = both[:, : weights.shape.intermediate], both[:, weights.shape.intermediate :]
    with np.errstate(over="ignore"):  # exp(-x) overflows to infinity for x < -88, where silu is 0
        inner = np.divide(gate, np.float32(1) + np.exp(-gate))
    inner *= up
    down = np.matmul(inner, layer.down)
    return down if layer.down_bias is None else down + layer.down_bias


def _normalised(values: Array, eps: float) -> Array:
    """Root-mean-square norm over the last axis, without its gain (Zhang & Sennrich 2019)."""
    mean = np.einsum("...d,...d->...", values, values) / np.float32(values.shape[-1])
    scale: Array = np.float32(1) / np.sqrt(mean + np.float32(eps))
    return np.multiply(values, scale[..., None])
