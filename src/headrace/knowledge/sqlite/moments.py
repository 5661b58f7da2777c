"""What is visible at a given time, and how long that stays true."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headrace.knowledge.query import AsOf, Timeline
from headrace.knowledge.revision import FOREVER, SINCE_EVER
from headrace.knowledge.sqlite.rows import Column

Mask = NDArray[np.bool_]
_VIEWS = 6

TIMELINES: tuple[Timeline, ...] = ("arrival", "event")


class Intervals:
    """Versions by slot: sorted keys, visibility on both timelines, and whether they are canaries."""

    def __init__(self) -> None:
        self.keys: Column[np.int64] = Column(np.int64)
        self.canary: Column[np.bool_] = Column(np.bool_)
        self.ends: dict[Timeline, tuple[Column[np.int64], Column[np.int64]]] = {
            timeline: (Column(np.int64), Column(np.int64)) for timeline in TIMELINES
        }

    def put(self, rows: NDArray[np.int64]) -> None:
        """[n, 6], by key: key, canary, start and end of arrival, start and end of event. Adds new ones and updates known ones."""
        known = int(np.searchsorted(rows[:, 0], self.keys.values[-1], side="right")) if len(self.keys) else 0
        old, new = rows[:known], rows[known:]
        slots = self.slots(old[:, 0])
        self.keys.extend(new[:, 0])
        self.canary.extend(new[:, 1] != 0)
        for timeline, column in zip(TIMELINES, (2, 4), strict=True):
            for end in (0, 1):
                self.ends[timeline][end].values[slots] = old[:, column + end]
                self.ends[timeline][end].extend(new[:, column + end])

    def slots(self, keys: NDArray[np.int64]) -> NDArray[np.int64]:
        """The slots of the versions, which must exist."""
        return np.searchsorted(self.keys.values, keys)

    def known(self, keys: NDArray[np.int64]) -> NDArray[np.int64]:
        """The slots of the versions that exist."""
        if not len(self.keys):
            return np.empty(0, np.int64)
        slots = np.minimum(self.slots(keys), len(self.keys) - 1)
        return slots[self.keys.values[slots] == keys]

    def forget(self, slots: NDArray[np.int64]) -> None:
        """Makes them permanently invisible."""
        for start, end in self.ends.values():
            start.values[slots] = end.values[slots] = SINCE_EVER


@dataclass(frozen=True, slots=True)
class View:
    """What is visible throughout [since, until)."""

    timeline: Timeline
    canary: bool
    since: int
    until: int
    chunks: Mask
    """For each chunk, whether it is visible."""
    places: NDArray[np.int64]
    """The visible chunks."""
    mean_length: float

    def holds(self, as_of: AsOf, *, canary: bool) -> bool:
        """Whether it is valid for that time."""
        return self.timeline == as_of.timeline and self.canary == canary and self.since <= as_of.at_ms < self.until


class Moments:
    """The most recently used views; cleared on any change."""

    def __init__(self) -> None:
        self._views: list[View] = []

    def forget(self) -> None:
        self._views.clear()

    def view(
        self, intervals: Intervals, slots: NDArray[np.int32], lengths: NDArray[np.int32], as_of: AsOf, *, canary: bool
    ) -> View:
        """What is visible at that time. `slots`, `lengths`: each chunk's version slot and number of terms."""
        for view in self._views:
            if view.holds(as_of, canary=canary):
                return view
        view = _view(intervals, slots, lengths, as_of, canary=canary)
        self._views = [view, *self._views[: _VIEWS - 1]]
        return view


def _view(
    intervals: Intervals, slots: NDArray[np.int32], lengths: NDArray[np.int32], as_of: AsOf, *, canary: bool
) -> View:
    starts, ends = (column.values for column in intervals.ends[as_of.timeline])
    begun, over = starts <= as_of.at_ms, ends <= as_of.at_ms
    chunks = (begun & ~over & (intervals.canary.values == canary))[slots]
    since, until = SINCE_EVER, FOREVER + 1
    for edges, passed in ((starts, begun), (ends, over)):
        since = int(np.max(edges, where=passed, initial=since))
        until = int(np.min(edges, where=~passed, initial=until))
    places = np.flatnonzero(chunks)
    mean = float(lengths[places].sum(dtype=np.int64)) / len(places) if len(places) else 1.0
    return View(as_of.timeline, canary, min(since, as_of.at_ms), until, chunks, places, mean or 1.0)
