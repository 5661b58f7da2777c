"""Which windows an event belongs to: plain arithmetic on milliseconds, for many events at once."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from headrace.streams.logical_plan import Frame

Times = npt.NDArray[np.int64]


def _floor(times: Times, step: int, offset: int) -> Times:
    return (times - offset) // step * step + offset


def first_end(times: Times, frame: Frame) -> Times:
    """End of the first window to close, for each event."""
    return _floor(times, frame.step_ms, frame.offset_ms) + frame.step_ms


def last_end(times: Times, frame: Frame) -> Times:
    """End of the last window to close, for each event: from then on the event is late. Of SESSION: its own window's."""
    if frame.kind == "SESSION":
        return times + frame.size_ms
    if frame.kind == "HOP":
        return _floor(times, frame.step_ms, frame.offset_ms) + frame.size_ms
    return _floor(times, frame.size_ms, frame.offset_ms) + frame.size_ms


@dataclass(frozen=True, slots=True)
class Assignment:
    """Row `rows[i]` in window [starts[i], ends[i])."""

    rows: Times
    starts: Times
    ends: Times


def assign(times: Times, before: Times, frame: Frame, after: int, until: int) -> Assignment:
    """Every window with `after` < end ≤ `until` of each event, but those that had closed at the watermark `before` it."""
    first, last = first_end(times, frame), last_end(times, frame)
    low = np.maximum(np.maximum(before, after) + 1, first)
    from_step = -((first - low) // frame.step_ms)
    to_step = (np.minimum(last, until) - first) // frame.step_ms
    counts = np.maximum(to_step - from_step + 1, 0)
    rows = np.repeat(np.arange(len(times)), counts)
    place = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    ends = first[rows] + (from_step[rows] + place) * frame.step_ms
    starts = _floor(times[rows], frame.size_ms, frame.offset_ms) if frame.kind == "CUMULATE" else ends - frame.size_ms
    return Assignment(rows, starts, ends)
