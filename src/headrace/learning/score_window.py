"""Rolling exact match per model, for summaries and reports: the first examples, the last, all, and marked points.

Bounded: even years of a stream take a few hundred bytes per model. The full curve is in the topic of scores.
"""

from collections import deque
from typing import Literal

import msgspec
import numpy as np

from headrace.learning.fresh import pack, unpack

WINDOW = 500
"""Examples that the first and the last figures cover."""
MARKS_KEPT = 64
"""Marks kept; the oldest is dropped first."""


class Summary(msgspec.Struct, frozen=True):
    """Exact match of one model; None if it has scored nothing."""

    count: int
    first: float | None
    """Over its first `window` examples."""
    last: float | None
    """Over its last `window` examples."""
    mean: float | None


class Mark(msgspec.Struct, frozen=True):
    """Every model's last `window` at one point, such as when drift was detected."""

    name: str
    offset: int
    last: dict[str, float]


class _Track(msgspec.Struct):
    first: deque[bool]
    last: deque[bool]
    count: int = 0
    hits: int = 0


class _TrackState(msgspec.Struct, frozen=True):
    first: bytes
    last: bytes
    sizes: tuple[int, int]
    count: int
    hits: int


class _State(msgspec.Struct, frozen=True):
    tracks: dict[str, _TrackState]
    marks: list[Mark]


class PrequentialRecord:
    """Exact matches before learning, per model (`learner`, `served`, `base`, `majority` …)."""

    def __init__(self, window: int = WINDOW) -> None:
        """`window`: number of examples."""
        if window < 1:
            raise ValueError(f"a window needs at least one example, not {window}")
        self._window = window
        self._tracks: dict[str, _Track] = {}
        self._marks: deque[Mark] = deque(maxlen=MARKS_KEPT)

    @property
    def marks(self) -> tuple[Mark, ...]:
        return tuple(self._marks)

    def update(self, model: str, exact: bool) -> None:
        """Adds one example's result for one model."""
        track = self._tracks.get(model)
        if track is None:
            track = self._tracks[model] = _Track(deque(), deque(maxlen=self._window))
        if len(track.first) < self._window:
            track.first.append(exact)
        track.last.append(exact)
        track.count += 1
        track.hits += exact

    def mark(self, name: str, offset: int) -> Mark:
        """Records every model's current figures; `offset` is the example's."""
        made = Mark(name, offset, {model: _mean(track.last) or 0.0 for model, track in self._tracks.items()})
        self._marks.append(made)
        return made

    def models(self) -> tuple[str, ...]:
        return tuple(self._tracks)

    def summary(self, model: str) -> Summary:
        """A model's figures; the count is 0 if it never scored."""
        track = self._tracks.get(model)
        if track is None:
            return Summary(0, None, None, None)
        return Summary(track.count, _mean(track.first), _mean(track.last), track.hits / track.count)

    def report(self) -> dict[Literal["first500", "last500", "majority500"], float | None]:
        """The three figures of `run -o json`: the learner's first and last, and the majority answer's last window."""
        learner = self.summary("learner")
        return {"first500": learner.first, "last500": learner.last, "majority500": self.summary("majority").last}

    def state(self) -> bytes:
        tracks = {
            model: _TrackState(_bits(t.first), _bits(t.last), (len(t.first), len(t.last)), t.count, t.hits)
            for model, t in self._tracks.items()
        }
        return pack(_State(tracks, list(self._marks)))

    @classmethod
    def from_state(cls, data: bytes, window: int = WINDOW) -> "PrequentialRecord":
        state = unpack(data, _State)
        record = cls(window)
        record._marks.extend(state.marks)
        for model, t in state.tracks.items():
            first, last = _unbits(t.first, t.sizes[0]), _unbits(t.last, t.sizes[1])
            record._tracks[model] = _Track(deque(first[:window]), deque(last, maxlen=window), t.count, t.hits)
        return record


def _mean(values: deque[bool]) -> float | None:
    return sum(values) / len(values) if values else None


def _bits(values: deque[bool]) -> bytes:
    return np.packbits(np.fromiter(values, dtype=np.uint8, count=len(values))).tobytes()


def _unbits(data: bytes, size: int) -> list[bool]:
    return [bool(bit) for bit in np.unpackbits(np.frombuffer(data, dtype=np.uint8), count=size)]
