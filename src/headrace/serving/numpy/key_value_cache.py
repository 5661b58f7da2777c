"""Keys and values of a batch's sequences, one slot each, packed from 0; grows with the sequences."""

import numpy as np
from numpy.typing import NDArray

from headrace.serving.numpy.shape import DecoderShape
from headrace.serving.numpy.weights import Array

_FIRST_SLOTS = 2
_FIRST_POSITIONS = 128
_NEVER = np.float32(-1e30)


class KeyValueCache:
    """[layers, slots, kv_heads, positions, head_dim], twice. Positions after a sequence's end hold finite leftovers."""

    def __init__(self, shape: DecoderShape) -> None:
        self._shape = shape
        self.clear()

    def clear(self) -> None:
        """Frees the memory; no slot may be in use."""
        self._keys = self._empty(0, 0)
        self._values = self._empty(0, 0)

    def reserve(self, slots: int, positions: int) -> None:
        """Grows by doubling, so that growth is rare; keeps the slots' contents."""
        has_slots, has_positions = self._keys.shape[1], self._keys.shape[3]
        if slots <= has_slots and positions <= has_positions:
            return
        more_slots = has_slots if slots <= has_slots else max(_FIRST_SLOTS, _doubled(slots))
        more_positions = min(max(_FIRST_POSITIONS, has_positions, _doubled(positions)), self._shape.max_positions)
        for name in ("_keys", "_values"):
            grown = self._empty(more_slots, max(more_positions, positions))
            grown[:, :has_slots, :, :has_positions] = getattr(self, name)
            setattr(self, name, grown)

    def move(self, source: int, target: int, length: int) -> None:
        """Copies a slot's first `length` positions over another's."""
        for store in (self._keys, self._values):
            store[:, target, :, :length] = store[:, source, :, :length]

    def attend_prompt(self, layer: int, slot: int, start: int, queries: Array, keys: Array, values: Array) -> Array:
        """Causal attention of consecutive tokens of one sequence; [tokens, heads·head_dim]. Stores their keys and values."""
        shape, tokens = self._shape, len(queries)
        end = start + tokens
        self._keys[layer, slot, :, start:end] = keys.transpose(1, 0, 2)
        self._values[layer, slot, :, start:end] = values.transpose(1, 0, 2)
        grouped = queries.reshape(tokens, shape.kv_heads, shape.group, shape.head_dim).transpose(1, 2, 0, 3)
        scores = grouped @ self._keys[layer, slot, :, None, :end].swapaxes(-1, -2)
        if tokens > 1:
            scores += np.triu(np.full((tokens, end), _NEVER), k=start + 1)
        mixed = _softmax(scores) @ self._values[layer, slot, :, None, :end]
        return mixed.transpose(2, 0, 1, 3).reshape(tokens, -1)

    def attend_rows(
        self, layer: int, positions: NDArray[np.intp], hidden_from: Array, queries: Array, keys: Array, values: Array
    ) -> Array:
        """Attention of one new token per slot; [rows, heads·head_dim]. `hidden_from` [rows, length] is added to the scores."""
        shape, rows, length = self._shape, len(queries), hidden_from.shape[1]
        slots = np.arange(rows)
        self._keys[layer, slots, :, positions] = keys
        self._values[layer, slots, :, positions] = values
        grouped = queries.reshape(rows, shape.kv_heads, shape.group, shape.head_dim)
        scores = grouped @ self._keys[layer, :rows, :, :length].swapaxes(-1, -2)
        scores += hidden_from[:, None, None]
        return (_softmax(scores) @ self._values[layer, :rows, :, :length]).reshape(rows, -1)

    def _empty(self, slots: int, positions: int) -> Array:
        shape = self._shape
        return np.zeros((shape.layers, slots, shape.kv_heads, positions, shape.head_dim), np.float32)


def hiding(positions: NDArray[np.intp]) -> Array:
    """[rows, longest]: 0 up to each row's position, strongly negative after it."""
    return np.where(np.arange(positions.max() + 1) <= positions[:, None], np.float32(0), _NEVER)


def _softmax(scores: Array) -> Array:
    scores -= scores.max(axis=-1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=-1, keepdims=True)
    return scores


def _doubled(needed: int) -> int:
    return 1 << (needed - 1).bit_length()
