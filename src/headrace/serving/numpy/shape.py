"""Which checkpoints the NumPy engine runs, with their dimensions and rotary angles."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from headrace.foundation.errors import CorruptDataError
from headrace.serving.checkpoint import CheckpointConfig

MODEL_TYPES = frozenset({"llama", "mistral", "qwen2", "qwen3"})
_ROPE_TYPES = ("default", "linear", "llama3")


@dataclass(frozen=True, slots=True)
class DecoderShape:
    """Dimensions of a Llama-shaped decoder."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    max_positions: int
    norm_eps: float
    tied: bool
    """Whether the output matrix is the embedding."""

    @property
    def group(self) -> int:
        """Query heads per key head."""
        return self.heads // self.kv_heads


def refusal(config: CheckpointConfig) -> str | None:
    """Why this engine cannot run the checkpoint exactly; None if it can."""
    values = config.values
    if config.model_type not in MODEL_TYPES:
        return f"model_type {config.model_type!r} is not one of {', '.join(sorted(MODEL_TYPES))}"
    if values.get("quantization_config"):
        return "the weights are quantised"
    if values.get("hidden_act", "silu") != "silu":
        return f"hidden_act is {values['hidden_act']!r}, not 'silu'"
    if _slides(config):
        return "it uses sliding-window attention"
    rope = _rope(values)
    if rope.get("rope_type", "default") not in _ROPE_TYPES or rope.get("partial_rotary_factor", 1.0) != 1.0:
        return f"its rotary embedding is {rope}; supported: {', '.join(_ROPE_TYPES)} over whole heads"
    return None


def read_shape(config: CheckpointConfig) -> DecoderShape:
    """CorruptDataError if a dimension is missing."""
    values = config.values
    try:
        heads = _whole(values["num_attention_heads"])
        hidden = _whole(values["hidden_size"])
        return DecoderShape(
            layers=_whole(values["num_hidden_layers"]),
            hidden=hidden,
            intermediate=_whole(values["intermediate_size"]),
            heads=heads,
            kv_heads=_whole(values.get("num_key_value_heads") or heads),
            head_dim=_whole(values.get("head_dim") or hidden // heads),
            vocabulary=_whole(values["vocab_size"]),
            max_positions=config.max_positions,
            norm_eps=float(cast("float", values.get("rms_norm_eps", 1e-6))),
            tied=bool(values.get("tie_word_embeddings", False)),
        )
    except (KeyError, TypeError) as error:
        raise CorruptDataError(f"config.json lacks a dimension: {error}", where=str(config.path)) from error


def rotary_tables(config: CheckpointConfig, shape: DecoderShape) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Cosine and signed sine, [max_positions, head_dim]: x·cos + swap_halves(x)·sin rotates (Su et al. 2021, eq. 34).

    Angles are fp32 products, as in training.
    """
    frequencies = _frequencies(_rope(config.values), shape.head_dim)
    angles = np.outer(np.arange(shape.max_positions, dtype=np.float32), frequencies)
    cos, sin = np.cos(angles), np.sin(angles)
    return np.concatenate([cos, cos], axis=1), np.concatenate([-sin, sin], axis=1)


def _frequencies(rope: Mapping[str, object], head_dim: int) -> NDArray[np.float32]:
    theta = _number(rope, "rope_theta", 10_000.0)
    exponents = np.arange(0, head_dim, 2, dtype=np.float32) / np.float32(head_dim)
    plain: NDArray[np.float32] = np.divide(np.float32(1), np.power(np.float32(theta), exponents))
    kind = rope.get("rope_type", "default")
    if kind == "linear":
        return plain / np.float32(_number(rope, "factor", 1.0))
    if kind == "llama3":
        return _llama3(plain, rope)
    return plain


def _llama3(plain: NDArray[np.float32], rope: Mapping[str, object]) -> NDArray[np.float32]:
    """Stretches long wavelengths by `factor`, keeps short ones, blends those between (Llama 3.1's context extension)."""
    factor = _number(rope, "factor", 8.0)
    low, high = _number(rope, "low_freq_factor", 1.0), _number(rope, "high_freq_factor", 4.0)
    turns = _number(rope, "original_max_position_embeddings", 8192) * plain / np.float32(2 * math.pi)
    keep = np.clip((turns - low) / (high - low), 0.0, 1.0)
    return (plain * keep + plain / factor * (1 - keep)).astype(np.float32)


def _rope(values: Mapping[str, object]) -> Mapping[str, object]:
    """The rotary settings, wherever this version of the format stores them."""
    rope = cast("dict[str, object]", values.get("rope_parameters") or values.get("rope_scaling") or {})
    kind = rope.get("rope_type", rope.get("type", "default"))
    theta = rope.get("rope_theta", values.get("rope_theta", 10_000.0))
    return {**rope, "rope_type": kind, "rope_theta": theta}


def _slides(config: CheckpointConfig) -> bool:
    values = config.values
    if "sliding_attention" in cast("list[str]", values.get("layer_types") or []):
        return True
    if config.model_type == "mistral":
        return values.get("sliding_window") is not None
    return bool(values.get("use_sliding_window", False))


def _number(values: Mapping[str, object], name: str, default: float) -> float:
    return float(cast("float", values.get(name, default)))


def _whole(value: object) -> int:
    if not isinstance(value, int) or value <= 0:
        raise TypeError(f"{value!r} is not a dimension")
    return value
