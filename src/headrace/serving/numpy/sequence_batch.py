"""Sequences that advance together: prompts are read in chunks, answers one token per step and row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from headrace.serving.engine import Logits
from headrace.serving.numpy.blas_threads import process_choice
from headrace.serving.numpy.decoder import forward, logits
from headrace.serving.numpy.key_value_cache import KeyValueCache, hiding
from headrace.serving.numpy.weights import Array, DecoderWeights

PROMPT_TOKENS_PER_STEP = 256
"""Bounds how long a long prompt delays running answers."""


@dataclass(slots=True)
class _Row:
    sequence: int
    prompt: Sequence[int]
    length: int = 0
    """Tokens whose keys and values are in the cache."""


class NumpySequenceBatch:
    """Generating rows use slots 0 … n − 1; at most one prompt is partly read, in slot n; the others wait without a slot."""

    def __init__(self, weights: DecoderWeights) -> None:
        self._weights = weights
        self._cache = KeyValueCache(weights.shape)
        self._writing: list[_Row] = []
        self._reading: _Row | None = None
        self._waiting: list[_Row] = []
        self._next = 0

    def join(self, prompt_ids: Sequence[int]) -> int:
        if not 1 <= len(prompt_ids) <= self._weights.shape.max_positions:
            raise ValueError(
                f"a prompt must have 1 to {self._weights.shape.max_positions} tokens, not {len(prompt_ids)}"
            )
        self._next += 1
        self._waiting.append(_Row(self._next, prompt_ids))
        return self._next

    def leave(self, sequence: int) -> None:
        self._waiting = [row for row in self._waiting if row.sequence != sequence]
        if self._reading is not None and self._reading.sequence == sequence:
            self._reading = None
        slot = next((slot for slot, row in enumerate(self._writing) if row.sequence == sequence), None)
        if slot is not None:
            self._close_gap(slot)
        if not self._writing and self._reading is None:
            self._cache.clear()

    def step(self, chosen: Mapping[int, int]) -> Logits:
        sequences = tuple(row.sequence for row in self._writing)
        values: list[Array] = []
        if self._writing:
            values.append(self._write(np.array([chosen[sequence] for sequence in sequences], np.intp)))
        finished, read = self._read()
        if finished:
            values.append(read)
        if len(values) == 1:
            return Logits(sequences + finished, values[0])
        empty = np.empty((0, self._weights.shape.vocabulary), np.float32)
        return Logits(sequences + finished, np.concatenate(values) if values else empty)

    def _write(self, tokens: np.ndarray[tuple[int], np.dtype[np.intp]]) -> Array:
        positions = np.array([row.length for row in self._writing], np.intp)
        self._cache.reserve(len(self._writing), int(positions.max()) + 1)
        mask = hiding(positions)

        def attend(layer: int, queries: Array, keys: Array, values: Array) -> Array:
            return self._cache.attend_rows(layer, positions, mask, queries, keys, values)

        with process_choice().work(len(tokens)):
            values = logits(self._weights, forward(self._weights, tokens, positions, attend))
        for row in self._writing:
            row.length += 1
        return values

    def _read(self) -> tuple[tuple[int, ...], Array]:
        """Reads up to PROMPT_TOKENS_PER_STEP prompt tokens; returns the sequences whose prompt is complete, and their logits."""
        pieces = self._take_pieces()
        if not pieces:
            return (), np.empty((0, self._weights.shape.vocabulary), np.float32)
        tokens = [token for row, size in pieces for token in row.prompt[row.length : row.length + size]]
        positions = [row.length + offset for row, size in pieces for offset in range(size)]
        first = len(self._writing)
        self._cache.reserve(first + len(pieces), max(positions) + 1)

        def attend(layer: int, queries: Array, keys: Array, values: Array) -> Array:
            mixed: list[Array] = []
            begin = 0
            for slot, (row, size) in enumerate(pieces, first):
                part = slice(begin, begin + size)
                mixed.append(
                    self._cache.attend_prompt(layer, slot, row.length, queries[part], keys[part], values[part])
                )
                begin += size
            return mixed[0] if len(mixed) == 1 else np.concatenate(mixed)

        with process_choice().work(len(tokens)):
            hidden = forward(self._weights, np.array(tokens, np.intp), np.array(positions, np.intp), attend)
        ends = np.cumsum([size for _, size in pieces]) - 1
        for row, size in pieces:
            row.length += size
        whole = [index for index, (row, _) in enumerate(pieces) if row.length == len(row.prompt)]
        done = [pieces[index][0] for index in whole]
        self._writing += done
        self._reading = pieces[-1][0] if len(done) < len(pieces) else None
        return tuple(row.sequence for row in done), logits(self._weights, hidden[ends[whole]])

    def _take_pieces(self) -> list[tuple[_Row, int]]:
        """The partly read prompt first, then whole ones in order; only the last may remain partly read."""
        pieces: list[tuple[_Row, int]] = []
        room = PROMPT_TOKENS_PER_STEP
        while room > 0 and (self._reading is not None or self._waiting):
            row = self._reading if self._reading is not None else self._waiting.pop(0)
            self._reading = None
            size = min(room, len(row.prompt) - row.length)
            pieces.append((row, size))
            room -= size
        return pieces

    def _close_gap(self, slot: int) -> None:
        last = len(self._writing) - 1
        row = self._writing.pop()
        if slot != last:
            self._cache.move(last, slot, row.length)
            self._writing[slot] = row
        if self._reading is not None:
            self._cache.move(last + 1, last, self._reading.length)
