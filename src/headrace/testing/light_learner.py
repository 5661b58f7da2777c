"""A learner in numpy that takes microseconds per example: for tests of everything around learning.

A linear softmax per answer position over hashed prompt tokens and the token before, learned by gradient descent. It does all
that the port asks for (bit-for-bit repetition, averages, slots, export, checkpoints), on a base model folder of any architecture,
of which it takes the vocabulary alone. The base itself counts as untrained, whatever its weights are.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from headrace.foundation.errors import CorruptDataError, InvalidDeclarationError, NotFoundError
from headrace.learning.learner import LEARNER, LearnerOptions, RoundReport, SequenceScore
from headrace.learning.method import carried
from headrace.models.checkpoint_check import inspect_checkpoint
from headrace.models.checkpoint_files import WEIGHTS, copy_side_files
from headrace.models.sequence import TokenSequence

FEATURES, POSITIONS = 64, 4
_NAME = "light.weight"
_STATE = "light.json"

Array = NDArray[np.float32]


class LightLearner:
    """See `headrace.learning.learner.Learner`. `learning_rate` is scaled by 1,000: 5e-3 learns a toy task in ten rounds."""

    def __init__(self, options: LearnerOptions) -> None:
        self._options = options
        self._vocabulary = inspect_checkpoint(options.base).vocabulary
        self._weights = self._untrained()
        self._average = self._weights.copy()
        self._steps_since_warm = 0
        self._slots: dict[str, Array] = {"base": self._untrained()}
        self._on_disk = {"base"}

    def _untrained(self) -> Array:
        return np.zeros((POSITIONS, FEATURES, self._vocabulary), np.float32)

    def score(self, slot: str, sequences: Sequence[TokenSequence]) -> list[SequenceScore]:
        if not sequences:
            return []
        rows = _rows(sequences)
        logs = _log_probabilities(self._of(slot), rows)
        predicted, losses = logs.argmax(-1), -logs[np.arange(len(rows.targets)), rows.targets].astype(np.float64)
        scores: list[SequenceScore] = []
        for sequence, end in zip(sequences, np.cumsum([len(s.answer_ids) for s in sequences]), strict=True):
            part = slice(int(end) - len(sequence.answer_ids), int(end))
            ids = tuple(int(token) for token in predicted[part])
            scores.append(SequenceScore(ids == sequence.answer_ids, float(losses[part].mean()), ids))
        return scores

    def _of(self, slot: str) -> Array:
        if slot == LEARNER:
            return self._weights
        if slot not in self._slots:
            raise NotFoundError(f"there is no slot {slot!r}; slots: {', '.join(self.slots())}")
        return self._slots[slot]

    def learn(self, epochs: Sequence[Sequence[TokenSequence]]) -> RoundReport:
        loss = float("nan")
        for sequences in epochs:
            loss = self._step(sequences)
        every = [sequence for sequences in epochs for sequence in sequences]
        return RoundReport(
            loss=loss,
            steps=len(epochs),
            answer_tokens=sum(len(sequence.answer_ids) for sequence in every),
            tokens=sum(len(sequence.ids) for sequence in every),
            learning_rate=self._learning_rate(self._steps_since_warm - 1),
        )

    def _step(self, sequences: Sequence[TokenSequence]) -> float:
        rows = _rows(sequences)
        tokens = len(rows.targets)
        logs = _log_probabilities(self._weights, rows)
        loss = -float(logs[np.arange(tokens), rows.targets].sum())
        slope = np.exp(logs)
        slope[np.arange(tokens), rows.targets] -= 1
        gradient = np.stack([(rows.features * (rows.places == p)[:, None]).T @ slope for p in range(POSITIONS)])
        rate = np.float32(1000 * self._learning_rate(self._steps_since_warm) / tokens)
        self._weights = self._weights - rate * gradient
        keep = np.float32(self._options.average_decay)
        self._average = (keep * self._average + (np.float32(1) - keep) * self._weights).astype(np.float32)
        self._steps_since_warm += 1
        return loss / tokens

    def _learning_rate(self, steps_since_warm: int) -> float:
        return self._options.learning_rate * min(1.0, (steps_since_warm + 1) / max(1, self._options.warmup_steps))

    def declare(self, options: LearnerOptions) -> None:
        self._options = carried(self._options, options)

    def rewarm(self) -> None:
        self._steps_since_warm = 0

    def freeze(self, slot: str) -> None:
        self._put(slot, self._average.copy())

    def _put(self, slot: str, weights: Array, *, on_disk: bool = False) -> None:
        if slot == LEARNER:
            raise InvalidDeclarationError("the slot `learner` is being trained and cannot hold a frozen copy")
        self._slots[slot] = weights
        (self._on_disk.add if on_disk else self._on_disk.discard)(slot)

    def move(self, source: str, target: str) -> None:
        self._put(target, self._of(source), on_disk=source in self._on_disk)
        self.drop(source)

    def drop(self, slot: str) -> None:
        if slot not in self._slots:
            raise NotFoundError(f"unknown frozen slot {slot!r}; slots: {', '.join(self.slots())}")
        del self._slots[slot]
        self._on_disk.discard(slot)

    def slots(self) -> tuple[str, ...]:
        return (LEARNER, *sorted(self._slots))

    def load(self, slot: str, version: Path) -> None:
        inspect_checkpoint(version)
        weights = _read(version / WEIGHTS).get(_NAME)
        weights = self._untrained() if weights is None else weights
        if slot != LEARNER:
            self._put(slot, weights, on_disk=True)
            return
        self._weights, self._average = weights, weights.copy()
        self._steps_since_warm = 0

    def export(self, slot: str, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        copy_side_files(self._options.base, path)
        save_file({_NAME: self._of(slot)}, path / WEIGHTS)

    def save(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        arrays = {LEARNER: self._weights, "average": self._average}
        arrays |= {f"slot-{name}": weights for name, weights in self._slots.items() if name not in self._on_disk}
        save_file(arrays, path / WEIGHTS)
        state = {"stepsSinceWarm": self._steps_since_warm, "sha256": _sha256(path / WEIGHTS)}
        (path / _STATE).write_text(json.dumps(state), encoding="utf-8")

    def restore(self, path: Path) -> None:
        try:
            state = json.loads((path / _STATE).read_text(encoding="utf-8"))
            steps, expected = state["stepsSinceWarm"], state["sha256"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CorruptDataError("the light learner's state cannot be read", where=str(path / _STATE)) from error
        if not (path / WEIGHTS).is_file() or _sha256(path / WEIGHTS) != expected:
            raise CorruptDataError("the file was changed after it was written", where=str(path / WEIGHTS))
        arrays = _read(path / WEIGHTS)
        self._weights, self._average, self._steps_since_warm = arrays[LEARNER], arrays["average"], steps
        saved = {name.removeprefix("slot-"): array for name, array in arrays.items() if name.startswith("slot-")}
        self._slots = {"base": self._untrained(), **saved}
        self._on_disk = {"base"}

    def weights_sha256(self, slot: str) -> str:
        weights = self._of(slot)
        return hashlib.sha256(f"{weights.dtype}{weights.shape}".encode() + weights.tobytes()).hexdigest()


@dataclass(frozen=True, slots=True)
class _Rows:
    """All answer tokens of some sequences, one behind the other."""

    features: Array
    """[answer tokens, FEATURES]: the prompt's tokens, hashed and scaled to length 1, and the token before."""
    places: NDArray[np.int64]
    """Which softmax each token uses: the last serves all that follow."""
    targets: NDArray[np.int64]


def _rows(sequences: Sequence[TokenSequence]) -> _Rows:
    features: list[Array] = []
    places: list[NDArray[np.int64]] = []
    for sequence in sequences:
        start, length = sequence.answer_start, len(sequence.answer_ids)
        if start < 1 or length < 1:
            raise InvalidDeclarationError("a sequence needs an answer and at least one token before it")
        bag = np.bincount(np.asarray(sequence.ids[:start]) % FEATURES, minlength=FEATURES)
        row = np.tile((bag / np.linalg.norm(bag)).astype(np.float32), (length, 1))
        row[np.arange(length), (np.asarray(sequence.ids[start - 1 : -1]) * 7 + 3) % FEATURES] += 1
        features.append(row)
        places.append(np.minimum(np.arange(length), POSITIONS - 1))
    targets = [token for sequence in sequences for token in sequence.answer_ids]
    return _Rows(np.concatenate(features), np.concatenate(places), np.asarray(targets, np.int64))


def _log_probabilities(weights: Array, rows: _Rows) -> Array:
    """[answer tokens, vocabulary]."""
    logits = np.empty((len(rows.targets), weights.shape[-1]), np.float32)
    for place in range(POSITIONS):
        chosen = rows.places == place
        logits[chosen] = rows.features[chosen] @ weights[place]
    logits -= logits.max(-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def _read(path: Path) -> dict[str, Array]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CorruptDataError(f"the weights cannot be read: {error}", where=str(path)) from error


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def open_light_learner(options: LearnerOptions) -> LightLearner:
    """Opens it on a base model folder; errors as `inspect_checkpoint`."""
    return LightLearner(options)
