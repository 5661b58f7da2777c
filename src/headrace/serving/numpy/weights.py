"""A decoder's matrices, laid out for small batches: input-major, with projections of the same input side by side."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headrace.foundation.errors import CorruptDataError
from headrace.serving.checkpoint import CheckpointConfig
from headrace.serving.numpy.safetensors_file import read_tensors
from headrace.serving.numpy.shape import DecoderShape, read_shape, rotary_tables

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """One block. The norms' gains are folded into the matrices after them, 1/√head_dim into the queries."""

    qkv: Array
    """[hidden, (heads + 2·kv_heads)·head_dim]"""
    qkv_bias: Array | None
    query_gain: Array | None
    """[head_dim]: a norm over each head's queries (Qwen 3)"""
    key_gain: Array | None
    output: Array
    """[heads·head_dim, hidden]"""
    output_bias: Array | None
    gate_up: Array
    """[hidden, 2·intermediate]"""
    gate_up_bias: Array | None
    down: Array
    """[intermediate, hidden]"""
    down_bias: Array | None


@dataclass(frozen=True, slots=True)
class DecoderWeights:
    """A whole model in fp32."""

    shape: DecoderShape
    embedding: Array
    """[vocabulary, hidden]"""
    layers: tuple[LayerWeights, ...]
    norm_gain: Array
    head: Array
    """[vocabulary, hidden]; the embedding itself if tied"""
    cos: Array
    sin: Array


def load_weights(path: Path, config: CheckpointConfig) -> DecoderWeights:
    """CorruptDataError if a tensor is missing or its shape differs from config.json."""
    shape = read_shape(config)
    source = _Source(path, read_tensors(path))
    matrix = (shape.vocabulary, shape.hidden)
    embedding = source.take("model.embed_tokens.weight", matrix)
    cos, sin = rotary_tables(config, shape)
    return DecoderWeights(
        shape=shape,
        embedding=embedding,
        layers=tuple(_layer(source, shape, index) for index in range(shape.layers)),
        norm_gain=source.take("model.norm.weight", (shape.hidden,)),
        head=embedding if shape.tied else source.take("lm_head.weight", matrix),
        cos=cos,
        sin=sin,
    )


class _Source:
    """Tensors by name, with their shapes checked."""

    def __init__(self, path: Path, tensors: Mapping[str, Array]) -> None:
        self._path = path
        self._tensors = tensors

    def take(self, name: str, shape: tuple[int, ...]) -> Array:
        tensor = self.maybe(name, shape)
        if tensor is None:
            raise CorruptDataError(f"the weights have no {name}", where=str(self._path))
        return tensor

    def maybe(self, name: str, shape: tuple[int, ...]) -> Array | None:
        tensor = self._tensors.get(name)
        if tensor is not None and tensor.shape != shape:
            raise CorruptDataError(f"{name} has shape {tensor.shape}, not {shape}", where=str(self._path))
        return tensor


def _layer(source: _Source, shape: DecoderShape, index: int) -> LayerWeights:
    prefix = f"model.layers.{index}."
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    wide, hidden = shape.intermediate, shape.hidden
    attention, mlp = f"{prefix}self_attn.", f"{prefix}mlp."
    before = source.take(f"{prefix}input_layernorm.weight", (hidden,))[:, None]
    behind = source.take(f"{prefix}post_attention_layernorm.weight", (hidden,))[:, None]
    parts = (("q_proj", queries), ("k_proj", keys), ("v_proj", keys))
    scale = np.float32(shape.head_dim**-0.5)
    query_gain = source.maybe(f"{attention}q_norm.weight", (shape.head_dim,))
    qkv = before * _side_by_side(source, attention, parts, hidden)
    bias = _biases(source, attention, parts)
    if query_gain is None:
        qkv[:, :queries] *= scale
        if bias is not None:
            bias[:queries] *= scale
    return LayerWeights(
        qkv=qkv,
        qkv_bias=bias,
        query_gain=None if query_gain is None else query_gain * scale,
        key_gain=source.maybe(f"{attention}k_norm.weight", (shape.head_dim,)),
        output=_side_by_side(source, attention, (("o_proj", hidden),), queries),
        output_bias=source.maybe(f"{attention}o_proj.bias", (hidden,)),
        gate_up=behind * _side_by_side(source, mlp, (("gate_proj", wide), ("up_proj", wide)), hidden),
        gate_up_bias=_biases(source, mlp, (("gate_proj", wide), ("up_proj", wide))),
        down=_side_by_side(source, mlp, (("down_proj", hidden),), wide),
        down_bias=source.maybe(f"{mlp}down_proj.bias", (hidden,)),
    )


def _side_by_side(source: _Source, prefix: str, parts: tuple[tuple[str, int], ...], width: int) -> Array:
    """Input-major [width, sum of outputs]: with few rows, BLAS is several times faster on it than on the stored layout."""
    stored = [source.take(f"{prefix}{name}.weight", (rows, width)) for name, rows in parts]
    return np.concatenate([matrix.T for matrix in stored], axis=1, dtype=np.float32).copy(order="C")


def _biases(source: _Source, prefix: str, parts: tuple[tuple[str, int], ...]) -> Array | None:
    """One vector, with zeros for parts that have none; None if no part has one."""
    found = [(source.maybe(f"{prefix}{name}.bias", (rows,)), rows) for name, rows in parts]
    if all(bias is None for bias, _ in found):
        return None
    return np.concatenate([np.zeros(rows, np.float32) if bias is None else bias for bias, rows in found])
