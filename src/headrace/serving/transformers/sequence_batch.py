"""Sequences that advance together in one left-padded cache; those whose cache cannot be joined advance alone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

from headrace.serving.engine import Logits


class CausalModel(Protocol):
    """The parts of a transformers model used here."""

    @property
    def forward(self) -> Callable[..., Any]: ...

    @property
    def config(self) -> Any: ...

    def __call__(self, **inputs: object) -> Any: ...


@dataclass(slots=True)
class _Row:
    sequence: int
    length: int
    """Tokens in the cache, padding not counted."""


@dataclass(slots=True)
class _Group:
    """Rows that share a cache; row i's last `length` positions are its own, earlier ones are padding."""

    cache: Cache
    rows: list[_Row] = field(default_factory=list[_Row])

    @property
    def width(self) -> int:
        return max(row.length for row in self.rows)


class TransformersSequenceBatch:
    """Continuous batching over any model's forward pass: a prompt is read alone, then its cache joins the others'."""

    def __init__(self, model: CausalModel, vocabulary_size: int, max_positions: int, *, takes_positions: bool) -> None:
        self._model = model
        self._vocabulary_size = vocabulary_size
        self._max_positions = max_positions
        self._takes_positions = takes_positions
        self._groups: list[_Group] = []
        self._waiting: list[tuple[int, Sequence[int]]] = []
        self._next = 0

    def join(self, prompt_ids: Sequence[int]) -> int:
        if not 1 <= len(prompt_ids) <= self._max_positions:
            raise ValueError(f"a prompt must have 1 to {self._max_positions} tokens, not {len(prompt_ids)}")
        self._next += 1
        self._waiting.append((self._next, prompt_ids))
        return self._next

    def leave(self, sequence: int) -> None:
        self._waiting = [waiting for waiting in self._waiting if waiting[0] != sequence]
        for group in self._groups:
            kept = [index for index, row in enumerate(group.rows) if row.sequence != sequence]
            if len(kept) < len(group.rows):
                _select(group, kept)
        self._groups = [group for group in self._groups if group.rows]

    @torch.inference_mode()
    def step(self, chosen: Mapping[int, int]) -> Logits:
        """Advances every row by one token, then reads one waiting prompt whole."""
        sequences: list[int] = []
        values: list[NDArray[np.float32]] = []
        for group in self._groups:
            sequences += [row.sequence for row in group.rows]
            values.append(self._write(group, chosen))
        if self._waiting:
            sequence, prompt = self._waiting.pop(0)
            sequences.append(sequence)
            values.append(self._read(sequence, prompt))
        empty = np.empty((0, self._vocabulary_size), np.float32)
        return Logits(tuple(sequences), np.concatenate(values) if values else empty)

    def _write(self, group: _Group, chosen: Mapping[int, int]) -> NDArray[np.float32]:
        tokens = torch.tensor([[chosen[row.sequence]] for row in group.rows])
        lengths = torch.tensor([row.length for row in group.rows])
        width = group.width + 1
        mask = (torch.arange(width) >= (width - 1 - lengths)[:, None]).long()
        output = self._forward(tokens, mask, lengths[:, None], group.cache)
        for row in group.rows:
            row.length += 1
        return output

    def _read(self, sequence: int, prompt: Sequence[int]) -> NDArray[np.float32]:
        cache = DynamicCache(config=self._model.config)
        tokens = torch.tensor([list(prompt)])
        output = self._forward(tokens, torch.ones_like(tokens), torch.arange(len(prompt))[None], cache)
        group = _Group(cache, [_Row(sequence, len(prompt))])
        others = next((other for other in self._groups if _joinable(other.cache)), None)
        if others is not None and _joinable(cache):
            _merge(others, group)
        else:
            self._groups.append(group)
        return output

    def _forward(self, tokens: Tensor, mask: Tensor, positions: Tensor, cache: Cache) -> NDArray[np.float32]:
        """Logits of each row's last position, [rows, vocabulary]; `cache` grows by the tokens."""
        inputs: dict[str, object] = {"input_ids": tokens, "attention_mask": mask, "past_key_values": cache}
        if self._takes_positions:
            inputs["position_ids"] = positions
        logits: Tensor = self._model(**inputs, use_cache=True).logits[:, -1]
        return logits.float().numpy()


def _joinable(cache: Cache) -> bool:
    """Whether its layers have plain keys and values over all positions."""
    return all(type(layer) is DynamicLayer for layer in cache.layers)


def _layers(cache: Cache) -> list[DynamicLayer]:
    return cast("list[DynamicLayer]", cache.layers)


def _merge(group: _Group, other: _Group) -> None:
    width = max(group.width, other.width)
    for mine, theirs in zip(_layers(group.cache), _layers(other.cache), strict=True):
        mine.keys = torch.cat([_padded(mine.keys, width), _padded(theirs.keys, width)])
        mine.values = torch.cat([_padded(mine.values, width), _padded(theirs.values, width)])
    group.rows += other.rows


def _padded(states: Tensor | None, width: int) -> Tensor:
    """[rows, heads, width, head_dim], zero-padded in front."""
    assert states is not None
    return torch.nn.functional.pad(states, (0, 0, width - states.shape[2], 0))


def _select(group: _Group, kept: list[int]) -> None:
    """Keeps some rows, and only as much padding as they need."""
    group.rows = [group.rows[index] for index in kept]
    if not kept:
        return
    indices = torch.tensor(kept)
    if not _joinable(group.cache):
        group.cache.batch_select_indices(indices)
        return
    for layer in _layers(group.cache):
        assert layer.keys is not None
        assert layer.values is not None
        layer.keys = layer.keys[indices, :, -group.width :]
        layer.values = layer.values[indices, :, -group.width :]
